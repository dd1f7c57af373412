"""The difference of two shares that were counted on the same samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy.stats import norm

from aigc_jax.types import UsageError


class PairedDifference(NamedTuple):
    """A share less another of the same samples.

    Attributes:
        value: the difference, in [-1, 1].
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def paired_difference(
    a: Bool[np.ndarray, " num"], b: Bool[np.ndarray, " num"], confidence: float = 0.95
) -> PairedDifference:
    """The share of a less that of b, with an interval that is never of width 0: pairs that agree leave a doubt.

    Args:
        a: whether something is so of each sample, in the one run.
        b: the same samples in the other.
        confidence: of the interval, in (0, 1).

    Returns:
        The difference and its interval, from Wilson's intervals of both shares and their correlation.

    Raises:
        UsageError: there are no samples.

    Reference:
        Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
        Statistics in Medicine 1998, method 10.

    >>> found = paired_difference(np.zeros(200, bool), np.zeros(200, bool))
    >>> found.value, round(found.low, 4), round(found.high, 4)
    (0.0, -0.0188, 0.0188)
    """
    n = len(a)
    if not n:
        raise UsageError("expected samples of both runs, at least one, got none: evaluate with --num-samples 1000")
    both, only_a, only_b, neither = (int(np.sum(each)) for each in (a & b, a & ~b, ~a & b, ~a & ~b))
    z = float(norm.ppf(0.5 + confidence / 2))
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
