"""Fréchet distance of two sets of features, by streaming moments in float64, and its limit for infinitely many.

Reference: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017.
With another encoder than Inception the number is not an FID: name it FD[encoder].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64

from aigc_jax.metrics.checks import Features, checked, checked_features
from aigc_jax.types import Metric, UsageError


class FrechetState(NamedTuple):
    """Moments of a set of feature vectors."""

    num_samples: int
    mean: Float64[np.ndarray, " num_features"]
    scatter: Float64[np.ndarray, "num_features num_features"]
    """Sum of the outer products of their deviations from the mean."""

    @property
    def covariance(self) -> Float64[np.ndarray, "num_features num_features"]:
        """The unbiased covariance, scatter / (num_samples - 1)."""
        return self.scatter / (self.num_samples - 1)


def frechet_statistics(num_features: int) -> Metric:
    """Mean and covariance of features, batch by batch.

    ``update`` takes features [B, num_features]; ``compute`` gives ``num_samples``, ``mean`` and ``covariance``
    (of at least two vectors). Hand two states to :func:`distance_of_moments`.

    Args:
        num_features: length of a feature vector, >= 1.

    Returns:
        A metric whose state is :class:`FrechetState`. ``update`` raises a ValueError for other than [B, num_features]
        numbers.

    >>> metric = frechet_statistics(2)
    >>> state = metric.update(metric.init(), np.array([[1.0, 0.0], [3.0, 0.0]]))
    >>> state.num_samples, state.mean.tolist()
    (2, [2.0, 0.0])
    """

    def init() -> FrechetState:
        return FrechetState(0, np.zeros(num_features), np.zeros((num_features, num_features)))

    def update(state: FrechetState, features: Float[np.ndarray, "batch f"] | Float[Array, "batch f"]) -> FrechetState:
        (values,) = checked(features=(features, float, "batch num_features"))
        if values.shape[1] != num_features:
            raise ValueError(f"expected features [B, {num_features}], got shape {values.shape}: use one encoder")
        if not len(values):
            return state
        values = values.astype(np.float64)
        mean = values.mean(axis=0)
        deviations = values - mean
        return _merge(state, FrechetState(len(values), mean, deviations.T @ deviations))

    def compute(state: FrechetState) -> dict[str, Any]:
        return {"num_samples": state.num_samples, "mean": state.mean, "covariance": state.covariance}

    return Metric(init, update, _merge, compute)


def _merge(a: FrechetState, b: FrechetState) -> FrechetState:
    """Chan, Golub & LeVeque 1983: exact and stable, where a difference of raw moments loses all digits."""
    if not a.num_samples or not b.num_samples:
        return a if a.num_samples else b
    total = a.num_samples + b.num_samples
    delta = b.mean - a.mean
    scatter = a.scatter + b.scatter + np.outer(delta, delta) * (a.num_samples * b.num_samples / total)
    return FrechetState(total, a.mean + delta * (b.num_samples / total), scatter)


def distance_of_moments(a: FrechetState, b: FrechetState) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians with these moments.

    ``|m_a - m_b|^2 + tr(S_a + S_b) - 2 tr((S_a^1/2 S_b S_a^1/2)^1/2)``, with symmetric eigenvalues
    only. It is biased upwards: for two sets of n vectors of one distribution N(0, I_d) its expectation is about
    ``(2 d + d (d + 1) / 2) / n``, so compare at equal n only, and with real against real.

    Args:
        a: moments of the one set.
        b: moments of the other; as many features.

    Returns:
        The distance, >= 0.

    Raises:
        ValueError: other than two states of as many features; of arrays, :func:`frechet_distance` is the distance.
        UsageError: a set has fewer vectors than features + 1, so that its covariance is singular; or features that are
            not finite.

    >>> metric = frechet_statistics(1)
    >>> a, b = (metric.update(metric.init(), np.array([[0.0], [2.0]]) + shift) for shift in (0.0, 3.0))
    >>> round(distance_of_moments(a, b), 12)
    9.0
    """
    if not (isinstance(a, FrechetState) and isinstance(b, FrechetState) and a.mean.shape == b.mean.shape):
        raise ValueError(
            "expected two states of frechet_statistics of as many features, got others: of two arrays [N, d] take "
            "aigc_jax.metrics.frechet_distance(real, fake)"
        )
    if not all(np.isfinite(each.scatter).all() for each in (a, b)):
        raise UsageError("expected finite features, got NaN or infinity: check the encoder and its inputs")
    num_features = len(a.mean)
    if min(a.num_samples, b.num_samples) < num_features + 1:
        raise UsageError(
            f"a Fréchet distance of {num_features} features needs at least {num_features + 1} samples on each side, "
            f"got {a.num_samples} and {b.num_samples}: ask for more samples"
        )
    values, vectors = np.linalg.eigh(a.covariance)
    # Rounding makes the zero eigenvalues of a nearly singular covariance slightly negative.
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(float(np.sum((a.mean - b.mean) ** 2) + trace), 0.0)


def frechet_distance(real: Features, fake: Features) -> float:
    """Fréchet distance of two sets of features; with those of Inception (pool3, 2,048 of them) this is FID.

    Args:
        real: features [N, d], N > d.
        fake: features [M, d], M > d.

    Returns:
        The distance, see :func:`distance_of_moments` for its bias.

    Raises:
        UsageError: too few examples, or features that are not finite.

    >>> round(frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]])), 12)
    9.0
    """
    real, fake = checked_features(real=real, fake=fake)
    metric = frechet_statistics(real.shape[1])
    return distance_of_moments(*(metric.update(metric.init(), features) for features in (real, fake)))


def frechet_infinity(real: Features, fake: Features, *, num_points: int = 15, seed: int = 0) -> float:
    """FD_infinity: Fréchet distance without the bias of finite samples, to first order.

    A line through Fréchet distances of N examples over 1 / N, where it meets N = infinity. The bias is a sum of one
    part over the number of real and one over the number of fake examples. Both sets are thinned alike, so that the line
    takes away both; against fixed moments of the real set, as in the paper, its part would stay. Smaller subsets are
    part of larger ones, so that all moments cost one pass.

    Args:
        real: features [N, d].
        fake: features [M, d].
        num_points: numbers of examples that the line is fitted to, >= 2, from a tenth of the sets (and 5 d examples,
            where there are 10 d) up to all of them.
        seed: of the subsets.

    Returns:
        The value. Not clamped: it may be slightly negative.

    Raises:
        UsageError: half of a set is no more than d examples, or features that are not finite.

    Reference:
        Chong & Forsyth, "Effectively Unbiased FID and Inception Score and where to find them", 2020, section 3.

    >>> real, fake = np.random.default_rng(0).normal(size=(2, 1000, 8))
    >>> round(frechet_distance(real, fake), 2), abs(frechet_infinity(real, fake)) < 0.01
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
        distances[number] = distance_of_moments(*states)
    return float(np.polyfit(1.0 / sizes[1], distances, 1)[1])
