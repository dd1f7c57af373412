"""FD_infinity: the Fréchet distance of infinitely many samples, extrapolated from what it is of fewer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from aigc_jax.metrics.frechet import frechet_distance, frechet_statistics
from aigc_jax.metrics.neighbors import Features, checked_features
from aigc_jax.types import UsageError


class FrechetInfinity(NamedTuple):
    """A line through Fréchet distances over 1 / N.

    Attributes:
        value: where it meets N = infinity. Not clamped: it may be slightly negative.
        slope: the bias is about ``slope / N``.
        sizes: the numbers N of fake examples, rising.
        distances: the distance at each N.
    """

    value: float
    slope: float
    sizes: Int64[np.ndarray, " num_points"]
    distances: Float64[np.ndarray, " num_points"]


def frechet_infinity(real: Features, fake: Features, *, num_points: int = 15, seed: int = 0) -> FrechetInfinity:
    """Fréchet distance without the bias of finite samples, to first order.

    The bias is a sum of one part over the number of real and one over the number of fake examples. Both sets are
    thinned alike, so that the line takes away both; against fixed moments of the real set, as in the paper, its part
    would stay. Smaller subsets are part of larger ones, so that all moments cost one pass.

    Args:
        real: features [N, d].
        fake: features [M, d].
        num_points: numbers of examples that the line is fitted to, >= 2, from a tenth of the sets (and 5 d examples,
            where there are 10 d) up to all of them.
        seed: of the subsets.

    Returns:
        The value, and the line.

    Raises:
        UsageError: half of a set is no more than d examples, features of different lengths, or not finite.

    Reference:
        Chong & Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", 2020, section 3.

    >>> real, fake = np.random.default_rng(0).normal(size=(2, 1000, 8))
    >>> result = frechet_infinity(real, fake)
    >>> round(float(result.distances[-1]), 2), abs(result.value) < 0.01
    (0.06, True)
    """
    real, fake = checked_features(real=real, fake=fake)
    num, num_features = min(len(real), len(fake)), real.shape[1]
    # Below 5 d the bias is no line in 1 / N: it has terms in d^3 / N^2.
    first = max(num // 10, min(5 * num_features, num // 2))
    if first < num_features + 1 or num - first < num_points - 1:
        needed = max(2 * (num_features + 1), 2 * num_points)
        raise UsageError(
            f"a line through Fréchet distances of {num_features} features needs at least {needed} examples on each "
            f"side, got {len(real)} and {len(fake)}: take more"
        )
    shares = np.linspace(first / num, 1.0, num_points)
    rng, metric = np.random.default_rng(seed), frechet_statistics(num_features)
    orders, sizes = [], []
    for features in (real, fake):
        orders.append(rng.permutation(len(features)))
        sizes.append(np.round(shares * len(features)).astype(np.int64))
    states, distances = [metric.init(), metric.init()], np.empty(num_points)
    for number in range(num_points):
        for side, features in enumerate((real, fake)):
            start = sizes[side][number - 1] if number else 0
            part = features[orders[side][start : sizes[side][number]]]
            states[side] = metric.update(states[side], part)
        distances[number] = frechet_distance(*states)
    slope, value = (float(c) for c in np.polyfit(1.0 / sizes[1], distances, 1))
    return FrechetInfinity(value, slope, sizes[1], distances)
