"""Differences from real data: intervals of closed forms, and error rates as stated."""

import numpy as np
import pytest
from scipy import stats

from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import (
    Comparison,
    checks_of,
    decide,
)
from aigc_jax.metrics.differences import (
    MIN_BLOCKS,
    mean_difference,
    pair_difference,
    repeat_difference,
    share_difference,
    stratified_shares,
    total_variation,
)


def test_share_difference_of_no_real_defect_is_clopper_pearson():
    found = share_difference(3, 50, 0, 0).interval(0.025)
    expected = stats.binomtest(3, 50).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("share", "real_share"), [(0.0, 0.0), (0.02, 0.02), (0.05, 0.02), (0.5, 0.5)])
@pytest.mark.parametrize("n", [60, 1000])
def test_share_difference_errs_as_often_as_stated(share, real_share, n, rng):
    counts, real_counts = rng.binomial(n, share, 2000), rng.binomial(500, real_share, 2000)
    pairs, times = np.unique(np.stack([counts, real_counts], axis=1), axis=0, return_counts=True)
    ends = [share_difference(int(a), n, int(b), 500).interval(0.025) for a, b in pairs]
    difference = share - real_share
    too_high = sum(num for end, num in zip(ends, times, strict=True) if end.low > difference)
    too_low = sum(num for end, num in zip(ends, times, strict=True) if end.high < difference)
    assert stats.binom.sf(max(too_high, too_low) - 1, 2000, 0.025) > 1e-4


def test_stratified_shares_compare_within_strata(rng):
    # Class 1 is hard in real data too: the samples, nearly all of class 1, are not worse.
    stratum, real_stratum = np.repeat([0, 1], [10, 990]), np.repeat([0, 1], [500, 500])
    is_bad, is_real_bad = rng.random(1000) < 0.3 * stratum, rng.random(1000) < 0.3 * real_stratum
    found = stratified_shares(is_bad, stratum, is_real_bad, real_stratum)
    assert found.interval(0.025).difference == pytest.approx(0.0, abs=0.1)  # four standard errors
    weight = np.array([10 / 500, 990 / 500])[real_stratum]
    assert found.reference == pytest.approx((weight * is_real_bad).sum() / weight.sum())
    assert found.real_n == int(weight.sum() ** 2 / (weight**2).sum())


def test_stratified_shares_leave_out_classes_without_real_examples():
    found = stratified_shares(np.array([True, False]), np.array([0, 1]), np.array([False]), np.array([1]))
    assert (found.value, found.n) == (0.0, 1)
    nothing = stratified_shares(np.array([True]), np.array([0]), np.array([False]), np.array([1]))
    assert (nothing.n, decide(nothing.interval(0.05), 0.02)) == (0, "undecided")


def test_mean_difference_from_a_constant_is_the_t_test(rng):
    ours = rng.normal(size=7)
    expected = stats.ttest_1samp(ours, 1.0).confidence_interval(0.9)
    found = mean_difference(ours, np.ones(9)).interval(0.05)
    assert (found.low, found.high) == pytest.approx((expected.low - 1.0, expected.high - 1.0))


def test_mean_difference_of_many_values_is_welch_test_and_of_few_is_wider(rng):
    for num, factor in ((5000, 1.0), (7, 1.1)):
        ours, real = rng.normal(size=num), rng.normal(1.0, 3.0, size=num)
        expected = stats.ttest_ind(ours, real, equal_var=False).confidence_interval(0.9)
        found = mean_difference(ours, real).interval(0.05)
        ratio = (found.high - found.low) / (expected.high - expected.low)
        assert ratio == pytest.approx(1.0, abs=1e-3) if num == 5000 else 1.0 < ratio < factor


@pytest.mark.parametrize(("num", "error"), [(3, 0.025), (5, 0.025), (15, 0.025), (5, 0.004)])
@pytest.mark.parametrize("shape", [1.0, 4.0, 100.0])
def test_mean_difference_of_skewed_blocks_errs_as_seldom_as_stated(num, error, shape):
    """Of values with a skewness of 2, 1 and 0.2; Welch's interval would err up to nine times too often."""
    rng, repeats = np.random.default_rng(num), 800
    sets = ([rng.gamma(shape, scale, size) for size, scale in ((num, 1.5), (30, 1.0))] for _ in range(repeats))
    ends = [mean_difference(*each, BLOCK, is_positive=True).interval(error) for each in sets]
    for wrong in (sum(end.low > 0.5 * shape for end in ends), sum(end.high < 0.5 * shape for end in ends)):
        limit = error if shape > 1 else 2.5 * error  # an exponential distribution is more skewed than any that occurs
        assert stats.binom.sf(wrong - 1, repeats, limit) > 1e-3, f"{wrong} of {repeats}"


def test_mean_difference_of_one_block_decides_nothing():
    assert decide(mean_difference(np.ones(1), np.ones(5), 100).interval(0.05), 0.5) == "undecided"
    assert decide(mean_difference(np.ones(3), np.ones(3), 100).interval(0.05), 0.0) == "pass"


def uniform(rng, n, num_values):
    return rng.integers(num_values, size=n)


def test_repeat_difference_of_a_discrete_world_is_its_share_of_repetitions(rng):
    """1,000 draws of 288 equally frequent values have 288 (1 - (1 - 1/288)^1000) distinct ones."""
    expected = 1 - 288 * (1 - (1 - 1 / 288) ** 1000) / 1000
    found = repeat_difference(uniform(rng, 20_000, 288), uniform(rng, 20_000, 288))
    # Of 35,000 pairs; its standard error is 0.0013.
    assert (found.value, found.reference) == pytest.approx((expected, expected), abs=0.006)
    drawn = [1 - len(np.unique(uniform(rng, 1000, 288))) / 1000 for _ in range(200)]
    assert found.value == pytest.approx(np.mean(drawn), abs=0.006)
    # A tenth as many samples give the same share.
    assert repeat_difference(uniform(rng, 2000, 288), uniform(rng, 20_000, 288)).value == pytest.approx(
        expected, abs=0.02
    )


def test_repeat_difference_of_no_pair_has_the_end_of_a_poisson_count():
    """None in 499,500 pairs: fewer than -ln(error) are expected, and 1,000 draws hold nearly as many repetitions."""
    found = repeat_difference(np.arange(1000), np.arange(100_000)).interval(0.01)
    probability = -np.log(0.01) / (1000 * 999 / 2)
    expected = 1000 * probability
    assert found.high == pytest.approx(1 - (1 - np.exp(-expected)) / expected, rel=1e-9)
    # Of real draws there are a hundred times as many pairs.
    assert (found.difference, found.low) == (0.0, pytest.approx(-found.high / 100, rel=0.01))


@pytest.mark.slow
def test_repeat_difference_of_one_pair_has_the_end_of_garwood():
    found = repeat_difference(np.maximum(np.arange(1000) - 1, 0), np.arange(10**6)).interval(0.025)
    expected = 1000 * 5.572 / (1000 * 999 / 2)  # Garwood 1936, table of a count of 1: 0.0253 to 5.572
    assert found.high == pytest.approx(1 - (1 - np.exp(-expected)) / expected, rel=0.01)
    assert found.difference == pytest.approx(0.001, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "num_values"), [(60, 288), (300, 288), (3000, 288), (1000, 10**6), (200, 5)])
def test_repeat_difference_errs_as_often_as_stated(n, num_values):
    rng, error, num = np.random.default_rng(n), 0.025, 400
    found = [repeat_difference(uniform(rng, n, num_values), uniform(rng, 4000, num_values)) for _ in range(num)]
    ends = [each.interval(error) for each in found]
    wrong = max(sum(end.low > 0 for end in ends), sum(end.high < 0 for end in ends))
    assert stats.binom.sf(wrong - 1, num, error) > 1e-3, f"{wrong} of {num}"


@pytest.mark.parametrize("n", [1000, 5000, 50_000])
def test_repeat_difference_finds_samples_that_repeat_a_recent_one_at_any_number(n):
    """One in twenty repeats the one ten places before: a key used twice, however many samples are drawn."""
    values = np.arange(n)
    again = np.flatnonzero(values // 10 % 20 == 1)
    values[again] -= 10
    found = repeat_difference(values, np.arange(20_000))
    # As many as 1,000 independent draws with as many equal pairs, 50 in 499,500, would repeat.
    assert found.value == pytest.approx(1 - (1 - np.exp(-0.1)) / 0.1, rel=0.02)
    assert decide(found.interval(0.005), 0.01) == "fail"


def test_pair_difference_is_simpsons_index(rng):
    """The sum of n_k (n_k - 1) / (n (n - 1)) (Simpson 1949), mean over groups."""
    ours, real = np.repeat([0, 1, 2], [5, 3, 2]), np.repeat([0, 1], [6, 4])
    one = np.zeros(10, int)
    found = pair_difference([ours, real], [one, one])
    assert found.value == pytest.approx((20 + 6 + 2) / 90)
    assert found.reference == pytest.approx((30 + 12) / 90)
    # Two groups of one size, in any order.
    mixed = rng.permutation(20)
    both = [np.concatenate([ours, real])[mixed]] * 2
    groups = [np.repeat([0, 1], 10)[mixed]] * 2
    found = pair_difference(both, groups)
    assert found.value == pytest.approx((28 / 90 + 42 / 90) / 2)
    assert found.interval(0.05).difference == 0.0


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.6, 0.3, 0.1], [0.9, 0.1], [0.05] * 20])
@pytest.mark.parametrize("n", [60, 600])
def test_pair_difference_decides_wrongly_as_seldom_as_stated(shares, n):
    """Samples just beyond the margin hardly ever pass, and those just within hardly ever fail."""
    rng, error, num, one = np.random.default_rng(n), 0.025, 400, np.zeros(n, int)
    shares = np.array(shares)
    worse = 0.7 * shares + 0.3 * np.eye(len(shares))[0]  # of some samples the value is always the first
    margin = float((worse**2).sum() - (shares**2).sum())
    states = [[], []]
    for _ in range(num):
        real = rng.choice(len(shares), n, p=shares)
        ours = rng.choice(len(shares), n, p=worse)
        interval = pair_difference([ours, real], [one, one]).interval(error)
        states[0].append(decide(interval, margin + 1e-9))
        states[1].append(decide(interval, margin - 1e-9))
    wrong = max(states[0].count("fail"), states[1].count("pass"))
    # At the margin itself, where errors are the most frequent; the interval of a U-statistic is that of large samples.
    limit = error if n == 600 else 2 * error
    assert stats.binom.sf(wrong - 1, num, limit) > 1e-3, f"{wrong} of {num}"


@pytest.mark.one_case
@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("n", [60, 300, 3000])
@pytest.mark.parametrize("distance", [0.0, 0.05])
def test_total_variation_errs_as_seldom_as_stated(num_classes, n, distance):
    """Half of the classes are too frequent, each a little: hard to tell from chance."""
    rng, error, num = np.random.default_rng(n), 0.025, 300
    real = np.full(num_classes, 1 / num_classes)
    worse = real * (1 + 2 * distance * np.where(np.arange(num_classes) < num_classes // 2, 1, -1))
    sets = ([rng.choice(num_classes, n, p=each) for each in (worse, real)] for _ in range(num))
    ends = [total_variation(*each).interval(error) for each in sets]
    for wrong in (sum(end.low > distance for end in ends), sum(end.high < distance for end in ends)):
        assert stats.binom.sf(wrong - 1, num, error) > 1e-3, f"{wrong} of {num}"


def test_total_variation_finds_dropped_classes(rng):
    ours, real = rng.integers(8, size=4000), rng.integers(10, size=4000)
    assert total_variation(ours, real).interval(0.025).difference == pytest.approx(0.2, abs=0.03)
    assert decide(total_variation(ours, real).interval(0.005), 0.05) == "fail"
    assert total_variation(real, real).interval(0.025).difference == pytest.approx(0.0, abs=0.03)


def test_mean_difference_of_two_blocks_decides_nothing():
    """Two blocks that happen to be equal have no spread."""
    two, many = np.ones(MIN_BLOCKS - 1), np.ones(9)
    for sides in ((two, many), (many, two)):
        assert decide(mean_difference(*sides, BLOCK).interval(0.05), 0.5) == "undecided"
    (check,) = checks_of([Comparison("recall", mean_difference(two, many, BLOCK))], {})["diverse"]
    assert (check.low, check.high, check.difference) == (None, None, 0.0)
