"""Differences of samples from real data that can be given with an interval at any level.

Each means the same at any number of samples, and is positive where samples are worse. Its interval joins those of both
sides (MOVER), each of them exact or conservative far out in its tail, and can be computed as it would be with more
samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats
from scipy.optimize import brentq

from aigc_jax.metrics.intervals import binomial_ends

MIN_BLOCKS = 3
"""Blocks of samples, and of held-out examples, from which a standard deviation is taken."""


class Interval(NamedTuple):
    """A difference, samples less real data and positive where samples are worse, with its interval."""

    difference: float
    low: float
    high: float


class Difference(NamedTuple):
    """A difference that can be given at any level."""

    value: float
    """Of the samples."""
    reference: float
    """Of real data."""
    n: int
    """Number of samples."""
    real_n: int
    """Number of held-out examples."""
    interval_at: Callable[[float, float], Interval]
    """``(error, factor) -> Interval``: as it would be with so many times the samples, if they stayed as they are."""

    def interval(self, error: float) -> Interval:
        """The interval whose ends are wrong with the given probability each."""
        return self.interval_at(error, 1.0)


def share_difference(count: float | int, n: float | int, real_count: float | int, real_n: float | int) -> Difference:
    """How much more often a defect occurs in samples than in real examples, by exact intervals of both shares.

    The interval of the difference joins the Clopper-Pearson intervals of both (MOVER): a share of 0 in few samples
    has a wide interval, unlike that of its standard error.

    Args:
        count: samples with the defect.
        n: samples.
        real_count: real examples with it, a fraction where classes are weighted.
        real_n: real examples, effective ones where classes are weighted; 0 for a defect that real data do not have.

    Returns:
        The difference of the shares.

    Reference:
        Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine
        1998, method 10, with exact intervals in place of Wilson's.

    >>> found = share_difference(30, 1000, 15, 1000).interval(0.025)
    >>> round(found.difference, 3), round(found.low, 4), round(found.high, 4)
    (0.015, 0.0014, 0.0292)
    """
    share, real_share = count / n, (real_count / real_n if real_n else 0.0)

    def interval_at(error: float, factor: float) -> Interval:
        low, high = binomial_ends(factor * count, factor * n, error)
        real_low, real_high = binomial_ends(real_count, real_n, error) if real_n else (0.0, 0.0)
        return _joined((low, share, high), (real_low, real_share, real_high))

    return Difference(share, real_share, int(n), int(real_n), interval_at)


def stratified_shares(
    is_bad: np.ndarray, stratum: Int[np.ndarray, " n"], is_real_bad: np.ndarray, real_stratum: Int[np.ndarray, " real"]
) -> Difference:
    """:func:`share_difference` from real examples that have each stratum as often as the samples have.

    Strata without a real example are left out on both sides. The effective number of real examples is that of Kish:
    (sum of weights)^2 / sum of their squares.

    >>> bad, one = np.arange(10) < 3, np.zeros(10, int)
    >>> stratified_shares(bad, one, bad, one).interval(0.05).difference
    0.0
    """
    known = np.unique(real_stratum)
    is_bad, stratum = (each[np.isin(stratum, known)] for each in (is_bad, stratum))
    num = 1 + int(max(stratum.max(initial=0), real_stratum.max(initial=0)))
    ours, theirs = (np.bincount(each, minlength=num).astype(float) for each in (stratum, real_stratum))
    weight = np.divide(ours, theirs, out=np.zeros(num), where=theirs > 0)[real_stratum]
    if not len(stratum):
        return share_difference(0, 1, 0, 0)._replace(n=0)
    effective = weight.sum() ** 2 / (weight**2).sum()
    real_share = float((weight * is_real_bad).sum() / weight.sum())
    return share_difference(float(is_bad.sum()), len(is_bad), real_share * float(effective), float(effective))


def mean_difference(
    ours: Float[np.ndarray, " n"], real: Float[np.ndarray, " real"], size: int = 1, *, is_positive: bool = False
) -> Difference:
    """The difference of two means, from Student's interval of each (MOVER).

    Welch's interval errs several times too often this far out in the tail with few blocks: its degrees of freedom are
    those of both sets together.

    Args:
        ours: a value of each sample, or of each block of ``size`` samples.
        real: likewise of held-out examples.
        size: examples behind each value.
        is_positive: whether the quantity cannot be negative, as shares and distances: skewed to the right, so that the
            upper end of a mean is that on a scale of logarithms.

    Returns:
        The difference; its interval is all numbers for fewer than two values, or :data:`MIN_BLOCKS` blocks.

    Reference:
        Zou & Donner, "Construction of confidence limits about effect measures: a general approach", Statistics in
        Medicine 2008.

    >>> found = mean_difference(np.array([1.0, 2.0, 3.0]), np.zeros(3)).interval(0.025)
    >>> found.difference, round(found.high, 3)  # scipy.stats.ttest_1samp
    (2.0, 4.484)
    """
    ours, real = (np.asarray(each, np.float64) for each in (ours, real))
    means = [float(each.mean()) if len(each) else float("nan") for each in (ours, real)]
    difference = means[0] - means[1]

    def interval_at(error: float, factor: float) -> Interval:
        nums = factor * len(ours), len(real)
        if min(nums) < (2 if size == 1 else MIN_BLOCKS) or min(len(ours), len(real)) < 2:
            return Interval(difference, -np.inf, np.inf)
        return _joined(mean_ends(ours, error, nums[0], is_positive), mean_ends(real, error, nums[1], is_positive))

    return Difference(means[0], means[1], size * len(ours), size * len(real), interval_at)


def mean_ends(values: np.ndarray, error: float, num: float, is_positive: bool = False) -> tuple[float, float, float]:
    """A mean between the ends of its interval for so many values of the same spread."""
    mean = float(values.mean())
    half = float(stats.t.isf(error, num - 1) * values.std(ddof=1) / num**0.5)
    if not is_positive or not half:
        return mean - half, mean, mean + half
    return max(mean - half, 0.0), mean, mean * float(np.exp(half / mean)) if half < 5 * mean else np.inf


def repeat_difference(ours: Int[np.ndarray, " n"], real: Int[np.ndarray, " real"], size: int = 1000) -> Difference:
    """The expected share of repetitions in ``size`` draws in a row, from the numbers of equal pairs among such draws.

    The probability lambda that two of them are equal does not depend on how many there are: neither where draws are
    independent, nor where each repeats a recent one, as with a key that is used twice. Its interval is that of a
    Poisson count of pairs, or where the values that occur repeat often, that of the U-statistic, whichever is wider.
    The share is that of draws from 1 / lambda equally frequent values, 1 - (1 - exp(-m lambda)) / (m lambda).

    Args:
        ours: the samples in their order, equal numbers for equal ones.
        real: likewise real examples in random order.
        size: m.

    Returns:
        The difference of the shares.

    Reference:
        Garwood, "Fiducial limits for the Poisson distribution", Biometrika 1936; Hoeffding, "A class of statistics
        with asymptotically normal distribution", 1948, equation 5.13.

    >>> round(repeat_difference(np.arange(1000), np.arange(5000)).interval(0.005).high, 4)
    0.0053
    """
    shares = [_equal_shares(each, size) for each in (ours, real)]

    def interval_at(error: float, factor: float) -> Interval:
        (low, share, high), (real_low, real_share, real_high) = (
            tuple(_repeated(each, size) for each in _equal_pairs(*side, size, error, times))
            for side, times in zip(shares, (factor, 1.0), strict=True)
        )
        return _joined((low, share, high), (real_low, real_share, real_high))

    value, reference = (_repeated(_equal_pairs(*side, size, 0.5)[1], size) for side in shares)
    return Difference(value, reference, len(ours), len(real), interval_at)


def _equal_shares(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each draw how many others of its block of ``size`` draws in a row equal it, and how many others there are."""
    block = np.arange(len(values)) // size
    _, place, counts = np.unique(np.stack([block, values]), axis=1, return_inverse=True, return_counts=True)
    return counts[place.ravel()] - 1.0, np.bincount(block)[block] - 1.0


def _equal_pairs(
    equal: np.ndarray, others: np.ndarray, size: int, error: float, factor: float = 1.0
) -> tuple[float, float, float]:
    """The probability that two draws are equal, between the ends of its interval for so many times the draws."""
    n = len(equal)
    probability = equal.sum() / max(others.sum(), 1)
    num_blocks, rest = divmod(factor * n, size)
    num = max((num_blocks * size * (size - 1) + max(rest * (rest - 1), 0)) / 2, 1.0)
    pairs = probability * num
    low = float(stats.chi2.ppf(error, 2 * pairs)) / 2 / num if pairs else 0.0
    high = float(stats.chi2.isf(error, 2 * (pairs + 1))) / 2 / num
    shares = equal / np.maximum(others, 1)
    half = float(stats.norm.isf(error)) * 2 * float(((shares - probability) ** 2).sum()) ** 0.5
    half /= max(n * factor**0.5, 1.0)
    return max(min(low, probability - half), 0.0), probability, min(max(high, probability + half), 1.0)


def _repeated(probability: float, size: int) -> float:
    """The share of repetitions in ``size`` draws from 1 / probability equally frequent values."""
    expected = size * probability
    return float(1 + np.expm1(-expected) / expected if expected > 1e-9 else expected / 2)


def _joined(ours: tuple[float, float, float], real: tuple[float, float, float]) -> Interval:
    """The interval of a difference from (low, value, high) of both: MOVER."""
    (low, value, high), (real_low, real_value, real_high) = ours, real
    difference = value - real_value
    return Interval(
        difference,
        difference - float(np.hypot(value - low, real_high - real_value)),
        difference + float(np.hypot(high - value, real_value - real_low)),
    )


def pair_difference(values: Sequence[np.ndarray], groups: Sequence[np.ndarray]) -> Difference:
    """How much more often two samples of a group have the same value than two real examples of it have.

    Args:
        values: of the samples and of real examples, int [n] each.
        groups: the group of each, its condition; with as many examples on both sides.

    Returns:
        The difference of the means over groups of the unbiased probability; its interval is that of U-statistics
        (Hoeffding 1948, equation 5.13).

    >>> two, one = np.arange(40) % 2, np.zeros(40, int)
    >>> round(pair_difference([one, two], [one, one]).interval(0.05).difference, 2)
    0.51
    """
    projections = []
    for own, group in zip(values, groups, strict=True):
        projection = np.zeros(len(own))
        for each in np.unique(group):
            is_in = group == each
            _, place, counts = np.unique(own[is_in], return_inverse=True, return_counts=True)
            share = (counts[place] - 1) / max(is_in.sum() - 1, 1)
            projection[is_in] = 2 * share - share.mean()
        projections.append(projection)
    return mean_difference(*projections, is_positive=True)


def total_variation(ours: Int[np.ndarray, " n"], real: Int[np.ndarray, " real"]) -> Difference:
    """The total variation distance of the shares of classes, of which chance alone makes one between any two sets.

    For the value and the lower end the classes that are too frequent are chosen by one half of the examples and counted
    in the other, and the reverse: so the distance is not exaggerated. The upper end is half of the root of
    sum_k (p_k - q_k)^2 / r_k, which is no less by the inequality of Cauchy and Schwarz (r: shares of both sets
    together), with the upper end of the noncentrality of Pearson's chi-squared statistic; where a class is expected
    fewer than five times, that of the distance of the counts by the inequality of McDiarmid.

    Reference:
        Steiger & Fouladi, "Noncentrality interval estimation and the evaluation of statistical models", 1997;
        McDiarmid, "On the method of bounded differences", 1989.

    >>> round(total_variation(np.arange(600) % 2, np.arange(600) % 3).interval(0.05).difference, 3)
    0.333
    """
    num_classes = 1 + int(max(ours.max(), real.max()))
    # At random: samples may come in an order.
    mixed = [np.random.default_rng(0).permutation(side) for side in (ours, real)]
    halves = [[np.bincount(side[part::2], minlength=num_classes) for part in (0, 1)] for side in mixed]
    counts = [0, 0]
    for part in (0, 1):
        shares = [each[part] / max(each[part].sum(), 1) for each in halves]
        for place, each in enumerate(halves):
            counts[place] += int(each[1 - part][shares[0] > shares[1]].sum())
    # Both directions use the same examples: for equal shares of two classes correlated by 2 / pi, for others less.
    sizes = [len(each) / (1 + 2 / np.pi) for each in (ours, real)]
    parts = [count / len(each) for count, each in zip(counts, (ours, real), strict=True)]
    found = share_difference(parts[0] * sizes[0], sizes[0], parts[1] * sizes[1], sizes[1])
    table = np.stack([sum(each) for each in halves]).astype(np.float64)

    def interval_at(error: float, factor: float) -> Interval:
        difference, low, _ = found.interval_at(error, factor)
        high = _upper_variation(table[:, table.sum(axis=0) > 0], error, factor)
        return Interval(difference, min(low, high), max(difference, high))

    return Difference(parts[0], parts[1], len(ours), len(real), interval_at)


def _upper_variation(table: Float[np.ndarray, "2 kind"], error: float, factor: float) -> float:
    """The upper end of the total variation distance of two rows of counts, with so many times those of the first."""
    n, real_n = table.sum(axis=1)
    shares, freedom = table / table.sum(axis=1, keepdims=True), table.shape[1] - 1
    size, new_size = 1 / (1 / n + 1 / real_n), 1 / (1 / (factor * n) + 1 / real_n)
    pooled = table.sum(axis=0) / table.sum()
    if not freedom or pooled.min() * min(factor * n, real_n) < 5:
        return 0.5 * float(np.abs(shares[0] - shares[1]).sum()) + float(np.sqrt(-np.log(error) / 2 / new_size))
    # Half a step of the counts more: a continuity correction.
    distance = np.abs(shares[0] - shares[1]) + 0.5 / max(n, real_n)
    statistic = size * float((distance**2 / pooled).sum())
    # What chance adds to it, the degrees of freedom on average, stays as it is.
    statistic = statistic if factor == 1 else max(statistic - freedom, 0.0) * new_size / size + freedom

    def excess(noncentrality: float) -> float:
        return float(stats.ncx2.cdf(statistic, freedom, noncentrality)) - error

    if excess(0.0) <= 0:
        return 0.0
    top = 1.0
    while excess(top) > 0:
        top *= 2
    return 0.5 * float(brentq(excess, 0.0, top) / new_size) ** 0.5
