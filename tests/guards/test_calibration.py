"""Calibrated filters: over many draws the guarantee fails no more often than its delta."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from aigc_jax.guards.calibration import DESIGN, calibrate, min_accepted
from aigc_jax.types import UsageError

DELTA, REPEATS = 0.05, 300
# More failures than these have a probability below 0.1 % where each has 5 %.
MOST = int(binom.ppf(0.999, REPEATS, DELTA))


def draw(n, seed, *, shift=3.5, share=0.05):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(size=n) < share
    return rng.normal(size=n) + shift * truth, truth


def true_risk(threshold, shift=3.5, share=0.05):
    """The share of unreliable samples among those of a score <= threshold, by the distribution of :func:`draw`."""
    bad, good = share * norm.cdf(threshold - shift), (1 - share) * norm.cdf(threshold)
    return 0.0 if threshold == -math.inf else bad / (bad + good)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "alpha", "accepted"), [(2000, 0.01, 0.75), (600, 0.02, 0.7)])
def test_calibrate_guarantee_holds_and_most_is_accepted(n, alpha, accepted):
    found = [calibrate(*draw(n, seed), alpha, DELTA) for seed in range(REPEATS)]
    assert sum(true_risk(each.value) > alpha for each in found) <= MOST
    assert np.mean([each.is_certified for each in found]) > 0.9
    assert np.mean([each.acceptance for each in found]) > accepted


@pytest.mark.slow
def test_calibrate_guarantee_holds_where_every_threshold_is_a_violation():
    """The hardest case: a useless score, and a base risk just above what is allowed."""
    found = [calibrate(*draw(1000, seed, shift=0.0, share=0.051), 0.05, DELTA) for seed in range(REPEATS)]
    assert sum(each.is_certified for each in found) <= MOST


@pytest.mark.slow
def test_calibrate_guarantee_holds_for_a_risk_that_is_not_monotone():
    """Low and high scores are both bad: the risk among the accepted falls and rises again."""

    def bent(seed):
        rng = np.random.default_rng(seed)
        scores = rng.uniform(size=1500)
        return scores, rng.uniform(size=1500) < np.where((scores < 0.1) | (scores > 0.9), 0.2, 0.002)

    def risk(value):
        value = min(value, 1.0)
        low, middle, high = min(value, 0.1), np.clip(value - 0.1, 0, 0.8), max(value - 0.9, 0)
        return (0.2 * low + 0.002 * middle + 0.2 * high) / value

    found = [calibrate(*bent(seed), 0.036, DELTA) for seed in range(REPEATS)]
    certified = [each for each in found if each.is_certified]
    assert len(certified) > 0.5 * REPEATS
    assert sum(risk(each.value) > 0.036 for each in certified) <= MOST


def test_threshold_of_least_observed_risk_would_break_the_guarantee():
    """So that the tests above can: without the binomial bound the guarantee is broken every other time."""
    failures = 0
    for seed in range(REPEATS):
        scores, truth = draw(2000, seed)
        order = np.argsort(scores)
        risks = np.cumsum(truth[order]) / np.arange(1, 2001)
        failures += true_risk(scores[order][np.flatnonzero(risks <= 0.01)[-1]]) > 0.01
    assert failures > 3 * MOST


def test_calibrate_accepts_everything_at_a_small_risk():
    scores, _ = draw(2000, 0)
    found = calibrate(scores, np.zeros(2000, bool), 0.01)
    assert (found.value, found.acceptance, found.risk) == (math.inf, 1.0, 0.0)
    assert found.accepts(np.array([1e9, np.nan])).tolist() == [True, False]


def test_calibrate_accepts_nothing_without_a_certificate():
    for scores, truth in [(np.arange(100.0), np.ones(100, bool)), draw(50, 0), draw(2000, 0, shift=0.0, share=0.5)]:
        found = calibrate(scores, truth, 0.01)
        assert not found.is_certified
        assert not found.accepts(scores).any()
        assert found.acceptance == 0.0
        assert math.isnan(found.risk)
        assert "nothing is accepted" in found.guarantee
        assert "299" in found.guarantee  # (1 - 0.01)^299 <= 5 %


def test_guarantee_names_its_numbers():
    found = calibrate(*draw(4000, 1), 0.01, 0.1)
    assert found.is_certified
    for word in ("90 %", "1 %", "4000", f"{found.acceptance:.1%}"):
        assert word in found.guarantee
    assert found.n == 4000
    assert found.num_tested == 4000 - int(DESIGN * 4000)
    assert found.risk <= 0.01


def test_calibrate_of_a_constant_score_and_of_ties():
    _, truth = draw(2000, 3, share=0.02)
    constant = calibrate(np.ones(2000), truth, 0.05)
    assert constant.acceptance == 1.0
    assert not calibrate(np.ones(2000), truth, 0.01).is_certified
    scores, truth = draw(2000, 4)
    rounded = calibrate(np.round(scores), truth, 0.02)
    assert 0.5 < rounded.acceptance < 1
    assert rounded.value == round(rounded.value)


def test_calibrate_never_accepts_nan():
    scores, truth = draw(2000, 5)
    scores = np.where(truth, np.nan, scores)
    found = calibrate(scores, truth, 0.01)
    assert found.is_certified
    assert found.risk == 0
    assert not found.accepts(scores)[truth].any()
    assert not calibrate(np.full(2000, np.nan), truth, 0.01).is_certified


def test_calibrate_depends_on_samples_and_seed_alone():
    scores, truth = draw(2000, 6)
    assert calibrate(scores, truth, 0.01) == calibrate(scores, truth, 0.01)
    assert calibrate(scores, truth, 0.01) != calibrate(scores, truth, 0.01, seed=1)


def test_min_accepted_certifies_and_one_less_does_not():
    assert (1 - 0.02) ** min_accepted(0.02, 0.05) <= 0.05 < (1 - 0.02) ** (min_accepted(0.02, 0.05) - 1)


@pytest.mark.parametrize(("n", "alpha", "delta"), [(0, 0.1, 0.1), (9, 0.0, 0.1), (9, 1.0, 0.1), (9, 0.1, 0.0)])
def test_calibrate_refuses_impossible_inputs_in_one_line(n, alpha, delta):
    with pytest.raises(UsageError) as caught:
        calibrate(np.zeros(n), np.zeros(n, bool), alpha, delta)
    assert "\n" not in str(caught.value)
