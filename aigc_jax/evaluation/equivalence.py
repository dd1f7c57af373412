"""Equivalence with real data: samples may be worse than held-out data by a margin at most, decided by one interval.

A comparison *passes* where the whole interval of the difference lies within the margin, *fails* where it lies wholly
beyond, and is *undecided* elsewhere. So a small sample can pass nothing that a large one would fail: more samples turn
undecided into pass or fail. For this the difference must mean the same at every number of samples, so that whatever
depends on the size of a set (recall, coverage, Fréchet distance) is measured on blocks of :data:`BLOCK` examples.

All intervals of a report hold together with probability 1 - :data:`FAMILY_ERROR` (Bonferroni): so often no comparison
passes whose true difference exceeds its margin, and none fails whose true difference does not.

Reference:
    Westlake, "Symmetrical confidence intervals for bioequivalence trials", Biometrics 1976; Wellek, "Testing
    Statistical Hypotheses of Equivalence and Noninferiority", 2010, section 1.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

State = Literal["pass", "fail", "undecided"]

BLOCK = 100
"""Examples of a block: the size at which recall, coverage and Fréchet distance are compared."""

MIN_BLOCKS = 3
"""Blocks of samples, and of held-out examples, from which a standard deviation is taken."""

FAMILY_ERROR = 0.05
"""Probability that some comparison of a report is decided wrongly."""


class Interval(NamedTuple):
    """A difference, samples less real data and positive where samples are worse, with its interval."""

    difference: float
    low: float
    high: float
    variance: tuple[float, float] = (0.0, 0.0)
    """Squared half-widths that are due to the samples and to the held-out examples."""


class Difference(NamedTuple):
    """A difference that can be given at any level.

    Attributes:
        value: of the samples.
        reference: of real data.
        n: number of samples.
        real_n: number of held-out examples.
        interval: ``one-sided error probability -> Interval``.
    """

    value: float
    reference: float
    n: int
    real_n: int
    interval: Callable[[float], Interval]


def share_difference(count: float, n: int, real_count: float, real_n: float) -> Difference:
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

    def interval(error: float) -> Interval:
        low, high = _exact(count, n, error)
        real_low, real_high = _exact(real_count, real_n, error) if real_n else (0.0, 0.0)
        difference = share - real_share
        return Interval(
            difference,
            difference - float(np.hypot(share - low, real_high - real_share)),
            difference + float(np.hypot(high - share, real_share - real_low)),
            (max(share - low, high - share) ** 2, max(real_share - real_low, real_high - real_share) ** 2),
        )

    return Difference(share, real_share, n, int(real_n), interval)


def _exact(count: float, n: float, error: float) -> tuple[float, float]:
    """The Clopper-Pearson interval, each end with the given error."""
    low = float(stats.beta.ppf(error, count, n - count + 1)) if count > 0 else 0.0
    high = float(stats.beta.ppf(1 - error, count + 1, n - count)) if count < n else 1.0
    return low, high


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


def mean_difference(ours: Float[np.ndarray, " n"], real: Float[np.ndarray, " real"], size: int = 1) -> Difference:
    """The difference of two means, by Welch's t-test.

    Args:
        ours: a value of each sample, or of each block of ``size`` samples.
        real: likewise of held-out examples.
        size: examples behind each value.

    Returns:
        The difference; its interval is all numbers for fewer than two values.

    Reference:
        Welch, "The generalization of Student's problem when several different population variances are involved",
        Biometrika 1947.

    >>> found = mean_difference(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])).interval(0.025)
    >>> found.difference, round(found.high, 3)  # scipy.stats.ttest_ind
    (0.0, 2.267)
    """
    ours, real = (np.asarray(each, np.float64) for each in (ours, real))
    means = [float(each.mean()) if len(each) else float("nan") for each in (ours, real)]
    difference = means[0] - means[1]

    def interval(error: float) -> Interval:
        if min(len(ours), len(real)) < 2:
            return Interval(difference, -np.inf, np.inf, (np.inf, np.inf))
        squares = [float(each.var(ddof=1)) / len(each) for each in (ours, real)]
        if not sum(squares):
            return Interval(difference, difference, difference)
        freedom = sum(squares) ** 2 / sum(s**2 / (len(e) - 1) for s, e in zip(squares, (ours, real), strict=True))
        quantile = float(stats.t.isf(error, freedom))
        half = quantile * sum(squares) ** 0.5
        return Interval(
            difference, difference - half, difference + half, (quantile**2 * squares[0], quantile**2 * squares[1])
        )

    return Difference(means[0], means[1], size * len(ours), size * len(real), interval)


def decide(interval: Interval, margin: float) -> State:
    """The outcome of a comparison.

    >>> decide(Interval(0.01, 0.005, 0.015), 0.02), decide(Interval(0.01, 0.005, 0.03), 0.02)
    ('pass', 'undecided')
    """
    if interval.high <= margin:
        return "pass"
    return "fail" if interval.low > margin else "undecided"


def num_to_decide(interval: Interval, margin: float, n: int) -> int | None:
    """Number of samples at which a comparison would be decided if the difference stayed as it is.

    Returns:
        The number; None where no number of samples would do: more held-out examples are needed.

    >>> num_to_decide(Interval(0.0, -0.04, 0.04, (0.0016, 0.0)), 0.02, 1000)
    4000
    """
    ours, real = interval.variance
    room = (interval.difference - margin) ** 2 - real
    return int(np.ceil(n * ours / room)) if room > 0 and np.isfinite(ours) else None
