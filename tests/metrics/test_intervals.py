"""Intervals against scipy's, normal theory and simulations with a known truth."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from aigc_jax.metrics.intervals import (
    bootstrap_interval,
    clopper_pearson,
    paired_difference,
    percentile_interval,
    standardized_share,
    upper_bound,
)
from aigc_jax.types import UsageError


def test_bootstrap_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(lambda index: values[index].mean(), 400, num_resamples=4000)
    reach = norm.ppf(0.975) * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.006)


def test_bootstrap_interval_depends_on_the_seed_alone():
    values = np.random.default_rng(1).normal(size=50)
    first, again, other = (bootstrap_interval(lambda i: values[i].mean(), 50, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_percentile_interval_is_widened_by_undetermined_draws():
    draws = np.arange(100.0)
    assert percentile_interval(draws, 0.9) == pytest.approx((4.95, 94.05))
    draws[[40, 50]] = np.nan  # 2 % of the draws: still inside of both tails of 5 %
    assert percentile_interval(draws, 0.9) == (2.0, 97.0)
    draws[40:50] = np.nan
    assert percentile_interval(draws, 0.9) == (-np.inf, np.inf)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (985, 1000), (1, 2), (0, 1), (3, 40)])
def test_clopper_pearson_is_scipys_exact_interval(successes, n, confidence):
    exact = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="exact")
    assert clopper_pearson(successes, n, confidence) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_clopper_pearson_of_no_trials_is_0_to_1():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0.97, 100), (float("nan"), 2)])
def test_clopper_pearson_refuses_impossible_counts(successes, n, unchecked_annotations):
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(successes, n)


def table(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_paired_difference_of_no_events_has_wilsons_interval():
    # Wilson's 95 % interval of 0 of 10 is (0, 0.2775).
    found = paired_difference(*table(0, 0, 0, 10))
    assert found.low == pytest.approx(-0.2775, abs=1e-4)
    assert found.high == pytest.approx(0.2775, abs=1e-4)


def test_paired_difference_changes_sign_with_the_order():
    found, turned = paired_difference(*table(90, 6, 1, 3)), paired_difference(*table(90, 1, 6, 3))
    assert found.value == pytest.approx(0.05)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert found.low < 0.05 < found.high


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.02, 0.03), (0.005, 0.005, 0.0, 0.99), (0.25, 0.25, 0.25, 0.25)])
def test_paired_difference_interval_covers_the_truth(shares):
    counts = np.random.default_rng(0).multinomial(200, shares, size=400)
    found = [paired_difference(*table(*each)) for each in counts]
    truth = shares[1] - shares[2]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.92


def test_paired_difference_refuses_no_samples():
    with pytest.raises(UsageError, match="at least one"):
        paired_difference(np.zeros(0, bool), np.zeros(0, bool))


def test_upper_bound_has_tail_probability_delta():
    k, n = np.array([0, 1, 7, 30]), np.array([20, 100, 100, 1000])
    np.testing.assert_allclose(binom.cdf(k, n, upper_bound(k, n, 0.05)), 0.05, rtol=1e-9)
    assert upper_bound(np.array([0, 5]), np.array([0, 5]), 0.05).tolist() == [1.0, 1.0]


def test_standardized_share_weights_strata_as_samples_do():
    right, label = np.array([True, True, False]), np.array([0, 0, 1])
    assert standardized_share(right, label, np.array([0, 1])) == 0.5
    assert standardized_share(right, label, np.array([0, 2])) == 1.0  # no real example of stratum 2
    assert np.isnan(standardized_share(right, label, np.array([2])))
