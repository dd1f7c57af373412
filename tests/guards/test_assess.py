"""Assessment of detectors: known scores, useless ones, ties, NaN, and samples all of one kind."""

import numpy as np
import pytest
from scipy.stats import norm

from aigc_jax.guards.assess import assess, choose, risk_coverage
from aigc_jax.types import UsageError


def shifted(n, shift, share, seed=0):
    """Scores N(0, 1) of reliable and N(shift, 1) of unreliable samples."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(size=n) < share
    return rng.normal(size=n) + shift * truth, truth


def test_assess_of_shifted_normal_scores_is_the_closed_form():
    scores, truth = shifted(40_000, 2.0, 0.3)
    found = assess(scores, truth, kept=0.9)
    assert found.auc.value == pytest.approx(norm.cdf(2.0 / np.sqrt(2.0)), abs=0.005)
    assert found.removed == pytest.approx(norm.sf(norm.ppf(0.9) - 2.0), abs=0.01)
    assert found.verdict == "useful"
    assert found.roc is not None


def test_assess_removed_is_counted_by_hand():
    """Counted by hand: of 25 reliable samples one may go at 96 % kept."""
    scores = np.concatenate([np.arange(25.0), [22.5, 23.5, 24.5, 3.5]])
    truth = np.arange(29) >= 25
    assert assess(scores, truth).removed == 0.5
    assert assess(scores, truth, kept=1.0).removed == 0.25


def test_assess_calls_useless_scores_useless():
    verdicts, areas = [], []
    for seed in range(200):
        found = assess(*shifted(2000, 0.0, 0.1, seed))
        verdicts.append(found.verdict)
        areas.append(found.auc.value)
    assert np.mean(areas) == pytest.approx(0.5, abs=0.01)
    # An interval of 95 %: about 10 of 200 miss one half.
    assert verdicts.count("useless") >= 180


def test_assess_calls_scores_of_the_wrong_sign_inverted():
    scores, truth = shifted(2000, 1.0, 0.2)
    assert assess(-scores, truth).verdict == "inverted"


def test_assess_of_a_constant_score_is_useless():
    _, truth = shifted(500, 0.0, 0.2)
    found = assess(np.ones(500), truth)
    assert (found.auc.value, found.verdict) == (0.5, "useless")
    assert found.removed == 0.0
    assert found.risk_coverage.coverage.tolist() == [1.0]


@pytest.mark.parametrize("is_bad", [False, True])
def test_assess_of_samples_of_one_kind_is_undecided(is_bad):
    found = assess(np.arange(10.0), np.full(10, is_bad))
    assert (found.verdict, found.is_useless, found.roc) == ("undecided", True, None)
    assert np.isnan(found.auc.value)
    assert np.isnan(found.removed)
    assert found.risk_coverage.risk.tolist() == [float(is_bad)] * 10


def test_assess_ranks_nan_as_the_least_reliable():
    truth = np.array([False, False, True, True])
    found = assess(np.array([1.0, 2.0, np.nan, 3.0]), truth)
    assert found.auc.value == 1.0
    assert assess(np.array([np.nan, 2.0, 1.0, 3.0]), truth).auc.value == 0.25


def test_risk_coverage_of_a_perfect_score_has_no_risk_before_the_unreliable_samples():
    truth = np.arange(1000) >= 800
    found = risk_coverage(np.arange(1000.0), truth)
    np.testing.assert_allclose(found.risk, np.maximum(np.arange(1.0, 1001.0) - 800, 0) / np.arange(1, 1001))
    assert found.base_risk == found.risk[-1] == 0.2


def test_risk_coverage_has_one_point_for_samples_of_equal_score():
    found = risk_coverage(np.array([0.0, 1, 1, 1, 2]), np.array([False, True, False, False, True]))
    assert found.threshold.tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(found.coverage, [0.2, 0.8, 1.0])
    np.testing.assert_allclose(found.risk, [0.0, 0.25, 0.4])


def test_choose_finds_the_best_score_despite_nan():
    scores, truth = shifted(2000, 2.0, 0.2)
    noise = np.random.default_rng(9).normal(size=2000)
    broken = np.where(truth, scores, np.nan)
    assert choose({"noise": noise, "good": scores, "inverted": -scores, "broken": broken}, truth) == "good"


def test_assess_and_choose_refuse_impossible_inputs_in_one_line():
    for call in (
        lambda: choose({}, np.array([True, False])),
        lambda: choose({"a": np.ones(2)}, np.array([True, True])),
        lambda: assess(np.zeros(0), np.zeros(0, bool)),
        lambda: assess(np.ones(2), np.array([True, False]), kept=0.0),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert "\n" not in str(caught.value)
