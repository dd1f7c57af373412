"""Typicality: distance of a likelihood from those of real examples.

A likelihood by itself is no detector: a blank image may be likelier than any real one.

Reference:
    Nalisnick et al., "Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality", 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64

from aigc_jax.metrics.checks import checked
from aigc_jax.types import UsageError

Values = Float[np.ndarray, " _"] | Float[Array, " _"]
"""One number per example."""


class Typical(NamedTuple):
    """The middle of the scores of real examples and their spread: all that typicality needs of them."""

    middle: float
    spread: float
    """The median absolute deviation (MAD)."""

    def distance(self, values: np.ndarray) -> Float64[np.ndarray, " num"]:
        """|value - middle| / spread; where that is 0, everything off the middle is infinitely far."""
        away = np.abs(values.astype(np.float64) - self.middle)
        if self.spread > 0:
            return away / self.spread
        return np.where(away > 0, np.where(np.isnan(away), np.nan, np.inf), away)


def typical(real: Values) -> Typical:
    """The middle and spread of the scores of real examples; see :func:`typicality`."""
    (reference,) = checked(real=(real, float, "num_real"))
    if not np.isfinite(reference).any():
        raise UsageError(f"expected finite scores of real examples, got none among {len(reference)}: hold some out")
    reference = reference[~np.isnan(reference)].astype(np.float64)
    middle = np.median(reference)
    return Typical(float(middle), float(np.median(np.abs(reference - middle))))


def typicality(values: Values, real: Values) -> Float64[np.ndarray, " num"]:
    """|value - median(real)| / MAD(real): how far from the middle of real examples, in their own spread.

    Args:
        values: raw scores of samples [N], such as those of a detector with ``is_typical_best``.
        real: raw scores of real examples, held out from training.

    Returns:
        float64 [N], >= 0, higher = less typical. MAD is the median of the distances to the median; where it is 0,
        everything off the median is infinitely far. A value that is NaN has the score NaN.

    Raises:
        ValueError: the scores are no numbers, or have another number of axes.
        UsageError: there are no real scores, or none that is a number.

    >>> typicality(np.array([2.0, 6.0, -1.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [0.0, 4.0, 3.0]
    """
    given, reference = checked(values=(values, float, "num"), real=(real, float, "num_real"))
    return typical(reference).distance(given)
