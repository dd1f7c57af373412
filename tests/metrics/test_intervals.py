"""Intervals against scipy's, normal theory and simulations with a known truth."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from aigc_jax.metrics.intervals import (
    bootstrap_interval,
    clopper_pearson,
    paired_difference,
    percentile_interval,
    upper_bound,
)
from aigc_jax.types import UsageError


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(lambda index: values[index].mean(), 400, num_resamples=4000)
    reach = norm.ppf(0.975) * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.006)


def test_strata_are_resampled_each_by_itself():
    seen = []
    bootstrap_interval(lambda index: seen.append(index) or 0.0, (3, 5), num_resamples=20)
    for index in seen:
        assert index.shape == (8,)
        assert index[:3].max() < 3 <= index[3:].min()
        assert index.max() < 8
    assert len({tuple(index) for index in seen}) > 10


def test_same_seed_same_interval():
    values = np.random.default_rng(1).normal(size=50)
    first, again, other = (bootstrap_interval(lambda i: values[i].mean(), 50, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_undetermined_draws_widen_both_ends():
    draws = np.arange(100.0)
    assert percentile_interval(draws, 0.9) == pytest.approx((4.95, 94.05))
    draws[[40, 50]] = np.nan  # 2 % of the draws: still inside of both tails of 5 %
    assert percentile_interval(draws, 0.9) == (2.0, 97.0)
    draws[40:50] = np.nan
    assert percentile_interval(draws, 0.9) == (-np.inf, np.inf)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (985, 1000), (1, 2), (0, 1), (3, 40)])
def test_interval_is_the_exact_one(successes, n, confidence):
    exact = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="exact")
    assert clopper_pearson(successes, n, confidence) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_no_trials_say_nothing():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(successes, n)


def table(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_no_case_at_all_leaves_wilsons_doubt():
    # Wilson's 95 % interval of 0 of 10 is (0, 0.2775).
    found = paired_difference(*table(0, 0, 0, 10))
    assert found.low == pytest.approx(-0.2775, abs=1e-4)
    assert found.high == pytest.approx(0.2775, abs=1e-4)


def test_swapping_the_runs_turns_the_difference():
    found, turned = paired_difference(*table(90, 6, 1, 3)), paired_difference(*table(90, 1, 6, 3))
    assert found.value == pytest.approx(0.05)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert found.low < 0.05 < found.high


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.02, 0.03), (0.005, 0.005, 0.0, 0.99), (0.25, 0.25, 0.25, 0.25)])
def test_the_interval_covers_the_truth(shares):
    counts = np.random.default_rng(0).multinomial(200, shares, size=400)
    found = [paired_difference(*table(*each)) for each in counts]
    truth = shares[1] - shares[2]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.92


def test_nothing_to_compare_is_refused():
    with pytest.raises(UsageError, match="at least one"):
        paired_difference(np.zeros(0, bool), np.zeros(0, bool))


def test_upper_bound_leaves_so_few_events_the_probability_delta():
    k, n = np.array([0, 1, 7, 30]), np.array([20, 100, 100, 1000])
    np.testing.assert_allclose(binom.cdf(k, n, upper_bound(k, n, 0.05)), 0.05, rtol=1e-9)
    assert upper_bound(np.array([0, 5]), np.array([0, 5]), 0.05).tolist() == [1.0, 1.0]
