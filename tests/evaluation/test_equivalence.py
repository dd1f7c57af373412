"""Comparisons with a margin: right intervals, right outcomes, and error rates as stated."""

import numpy as np
import pytest
from scipy import stats

from aigc_jax.evaluation.equivalence import (
    Interval,
    decide,
    mean_difference,
    num_to_decide,
    share_difference,
    stratified_shares,
)

RNG = np.random.default_rng(0)


def test_share_difference_of_no_real_defect_is_clopper_pearson():
    found = share_difference(3, 50, 0, 0).interval(0.025)
    expected = stats.binomtest(3, 50).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("share", "real_share"), [(0.0, 0.0), (0.02, 0.02), (0.05, 0.02), (0.5, 0.5)])
@pytest.mark.parametrize("n", [60, 1000])
def test_share_difference_errs_as_often_as_stated(share, real_share, n):
    counts, real_counts = RNG.binomial(n, share, 2000), RNG.binomial(500, real_share, 2000)
    pairs, times = np.unique(np.stack([counts, real_counts], axis=1), axis=0, return_counts=True)
    ends = [share_difference(int(a), n, int(b), 500).interval(0.025) for a, b in pairs]
    difference = share - real_share
    too_high = sum(num for end, num in zip(ends, times, strict=True) if end.low > difference)
    too_low = sum(num for end, num in zip(ends, times, strict=True) if end.high < difference)
    assert stats.binom.sf(max(too_high, too_low) - 1, 2000, 0.025) > 1e-4


def test_share_of_zero_in_few_samples_decides_nothing():
    assert decide(share_difference(0, 60, 0, 60).interval(0.005), 0.02) == "undecided"
    assert decide(share_difference(0, 1000, 0, 1000).interval(0.005), 0.02) == "pass"


def test_stratified_shares_compare_within_strata():
    # Class 1 is hard in real data too: the samples, nearly all of class 1, are not worse.
    stratum, real_stratum = np.repeat([0, 1], [10, 990]), np.repeat([0, 1], [500, 500])
    is_bad, is_real_bad = RNG.random(1000) < 0.3 * stratum, RNG.random(1000) < 0.3 * real_stratum
    found = stratified_shares(is_bad, stratum, is_real_bad, real_stratum)
    assert found.interval(0.025).difference == pytest.approx(0.0, abs=0.05)
    weight = np.array([10 / 500, 990 / 500])[real_stratum]
    assert found.reference == pytest.approx((weight * is_real_bad).sum() / weight.sum())
    assert found.real_n == int(weight.sum() ** 2 / (weight**2).sum())


def test_stratified_shares_leave_out_classes_without_real_examples():
    found = stratified_shares(np.array([True, False]), np.array([0, 1]), np.array([False]), np.array([1]))
    assert (found.value, found.n) == (0.0, 1)
    nothing = stratified_shares(np.array([True]), np.array([0]), np.array([False]), np.array([1]))
    assert (nothing.n, decide(nothing.interval(0.05), 0.02)) == (0, "undecided")


def test_mean_difference_is_welch_test():
    ours, real = RNG.normal(size=7), RNG.normal(1.0, 3.0, size=12)
    expected = stats.ttest_ind(ours, real, equal_var=False).confidence_interval(0.9)
    found = mean_difference(ours, real).interval(0.05)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_mean_difference_of_one_block_decides_nothing():
    assert decide(mean_difference(np.ones(1), np.ones(5), 100).interval(0.05), 0.5) == "undecided"
    assert decide(mean_difference(np.ones(3), np.ones(3), 100).interval(0.05), 0.0) == "pass"


@pytest.mark.parametrize(
    ("low", "high", "state"), [(-1.0, 2.0, "pass"), (2.1, 3.0, "fail"), (1.0, 3.0, "undecided"), (-9.0, -3.0, "pass")]
)
def test_decide_takes_the_whole_interval(low, high, state):
    assert decide(Interval(0.0, low, high), 2.0) == state


def test_num_to_decide_decides():
    found = share_difference(20, 500, 20, 4000)
    assert decide(found.interval(0.005), 0.05) == "undecided"
    n = num_to_decide(found.interval(0.005), 0.05, 500)
    assert decide(share_difference(round(0.04 * n * 1.1), round(n * 1.1), 20, 4000).interval(0.005), 0.05) == "pass"
    assert num_to_decide(share_difference(20, 500, 4, 100).interval(0.005), 0.02, 500) is None
