"""Intervals of shares and of resampled statistics: exact (Clopper-Pearson), paired (Newcombe), bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import beta, norm

from aigc_jax.metrics.checks import checked
from aigc_jax.types import UsageError

NUM_RESAMPLES = 1000
"""Enough for the ends of a 95 % interval to move by a tenth of its width from one seed to another."""


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a probability after ``successes`` in ``n`` independent trials.

    Args:
        successes: 0 ... n.
        n: number of trials, >= 0.
        confidence: probability that the interval covers the truth, at least, in (0, 1).

    Returns:
        Its lower and upper end; (0, 1) where there were no trials. n successes in n trials give an upper
        end of 1 and a lower one below 1: a bound, never a certainty.

    Raises:
        ValueError: more successes than trials, a negative number, or a share in place of a count.

    Reference:
        Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the
        binomial", Biometrika 1934.

    >>> [round(end, 4) for end in clopper_pearson(1000, 1000)]
    [0.9963, 1.0]
    """
    if not 0 <= successes <= n or successes != int(successes) or n != int(n):
        raise ValueError(f"expected counts 0 <= successes <= n, got {successes} and {n}")
    return binomial_ends(successes, n, (1 - confidence) / 2)


def binomial_ends(successes: float | int, n: float | int, error: float) -> tuple[float, float]:
    """The ends of :func:`clopper_pearson`, each with the given error; numbers of weighted trials may be fractions."""
    low = float(beta.ppf(error, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - error, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def upper_bound(num_events: Int[np.ndarray, "..."], num: Int[np.ndarray, "..."], delta: float) -> np.ndarray:
    """One-sided exact upper bound (1 - delta) of a probability (Clopper and Pearson 1934); 1 for no trials."""
    k, n = np.asarray(num_events, np.float64), np.asarray(num, np.float64)
    return np.where(k < n, beta.ppf(1.0 - delta, k + 1.0, np.maximum(n - k, 1.0)), 1.0)


def standardized_share(
    is_event: Bool[np.ndarray, " num_real"], stratum: Int[np.ndarray, " num_real"], like: Int[np.ndarray, " num"]
) -> float:
    """Share of events among real examples, each stratum weighted as it occurs among the samples (``like``).

    Samples are drawn for classes in other proportions than real examples have. Strata without real examples have no
    weight; NaN where no stratum has any.

    Reference:
        Direct standardisation: Fleiss, Levin & Paik, "Statistical Methods for Rates and Proportions", 2003, chapter 19.
    """
    is_event, stratum, like = checked(
        is_event=(is_event, bool, "num_real"), stratum=(stratum, int, "num_real"), like=(like, int, "num")
    )
    shared = [each for each in np.unique(like) if (stratum == each).any()]
    if not shared:
        return float("nan")
    weights = [np.sum(like == each) for each in shared]
    return float(np.average([np.mean(is_event[stratum == each]) for each in shared], weights=weights))


class PairedDifference(NamedTuple):
    """Difference of two shares that were counted on the same samples, in [-1, 1], and the ends of its interval."""

    value: float
    low: float
    high: float


def paired_difference(a: Bool[np.ndarray, " num"], b: Bool[np.ndarray, " num"]) -> PairedDifference:
    """Share of a minus that of b, with a 95 % interval that never has width 0: pairs that agree leave a doubt.

    Args:
        a: whether the event occurs in each sample of the one run.
        b: the same samples of the other.

    Returns:
        The difference and its interval, from Wilson's intervals of both shares and their correlation.

    Raises:
        UsageError: there are no samples.
        ValueError: arrays of other kinds, or of different lengths.

    Reference:
        Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
        Statistics in Medicine 1998, method 10.

    >>> found = paired_difference(np.zeros(200, bool), np.zeros(200, bool))
    >>> found.value, round(found.low, 4), round(found.high, 4)
    (0.0, -0.0188, 0.0188)
    """
    a, b = checked(a=(a, bool, "num"), b=(b, bool, "num"))
    n = len(a)
    if not n:
        raise UsageError("expected samples of both runs, at least one, got none: evaluate with --num-samples 1000")
    both, only_a, only_b, neither = (int(np.sum(each)) for each in (a & b, a & ~b, ~a & b, ~a & ~b))
    z = float(norm.ppf(0.975))
    p, q = (both + only_a) / n, (both + only_b) / n
    (low_p, high_p), (low_q, high_q) = _wilson(p, n, z), _wilson(q, n, z)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    excess = both * neither - only_a * only_b
    # Continuity correction of the correlation where it is positive: the intervals would be too short.
    excess = max(excess - n / 2, 0.0) if excess > 0 else excess
    phi = excess / math.sqrt(margins) if margins else 0.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    return PairedDifference(p - q, p - q - reach(p - low_p, high_q - q), p - q + reach(high_p - p, q - low_q))


def _wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's score interval."""
    centre, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


def percentile_interval(draws: Float[np.ndarray, " num_draws"], confidence: float = 0.95) -> tuple[float, float]:
    """Central quantiles of a bootstrap distribution; a NaN, an undetermined resample, is as low and as high as can be.

    Reference:
        Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    tail, is_open = (1 - confidence) / 2, np.isnan(draws)
    # "lower" and "higher": between an infinity and a number there is nothing to interpolate.
    methods = ("lower", "higher") if is_open.any() else ("linear", "linear")
    low = np.quantile(np.where(is_open, -np.inf, draws), tail, method=methods[0])
    high = np.quantile(np.where(is_open, np.inf, draws), 1 - tail, method=methods[1])
    return float(low), float(high)


def bootstrap_interval(
    statistic_fn: Callable[[Int[np.ndarray, " num"]], float],
    num: int,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (95 %) of a statistic of independent examples.

    Args:
        statistic_fn: indices of the examples of a resample, drawn with replacement -> the statistic, NaN where the
            resample leaves it undetermined.
        num: number of examples, >= 1.
        num_resamples: how many resamples to draw.
        seed: of the resamples; the same seed gives the same interval.

    Returns:
        Lower and upper end.

    Raises:
        UsageError: there are no examples.

    Reference:
        Efron, "Bootstrap methods: another look at the jackknife", 1979.

    >>> values = np.arange(100.0)
    >>> low, high = bootstrap_interval(lambda index: values[index].mean(), 100)
    >>> 43 < low < 45, 54 < high < 56
    (True, True)
    """
    if num < 1:
        raise UsageError("expected at least one example to resample, got none")
    rng = np.random.default_rng(seed)
    draws = [statistic_fn(rng.integers(0, num, num)) for _ in range(num_resamples)]
    return percentile_interval(np.asarray(draws, np.float64))
