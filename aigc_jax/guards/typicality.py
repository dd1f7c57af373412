"""Typicality: distance of a likelihood from those of real examples.

A likelihood by itself is no detector: a blank image may be likelier than any real one.

Reference:
    Nalisnick et al., "Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality", 2019.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float, Float64

from aigc_jax.metrics.checks import checked
from aigc_jax.types import UsageError

Values = Float[np.ndarray, " _"] | Float[Array, " _"]
"""One number per example."""


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
    if not np.isfinite(reference).any():
        raise UsageError(f"expected finite scores of real examples, got none among {len(reference)}: hold some out")
    reference = reference[~np.isnan(reference)].astype(np.float64)
    middle = np.median(reference)
    spread = np.median(np.abs(reference - middle))
    away = np.abs(given.astype(np.float64) - middle)
    return away / spread if spread > 0 else np.where(away > 0, np.where(np.isnan(away), np.nan, np.inf), away)
