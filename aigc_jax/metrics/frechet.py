"""Fréchet distance between two sets of features, by streaming moments in float64.

Reference: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium", 2017. With another encoder than Inception the number is not an FID: name it FD[encoder].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64

from aigc_jax.types import Metric, UsageError


class FrechetState(NamedTuple):
    """The moments of a set of feature vectors.

    Attributes:
        num_samples: number of vectors.
        mean: their mean.
        scatter: sum of the outer products of their deviations from the mean.
    """

    num_samples: int
    mean: Float64[np.ndarray, " num_features"]
    scatter: Float64[np.ndarray, "num_features num_features"]

    @property
    def covariance(self) -> Float64[np.ndarray, "num_features num_features"]:
        """The unbiased covariance, scatter / (num_samples - 1)."""
        return self.scatter / (self.num_samples - 1)


def frechet_statistics(num_features: int) -> Metric:
    """Mean and covariance of features, batch by batch.

    ``update`` takes features [B, num_features]; ``compute`` gives ``num_samples``, ``mean`` and ``covariance``
    (of at least two vectors). Hand two states to :func:`frechet_distance`.

    Args:
        num_features: length of a feature vector, >= 1.

    Returns:
        A metric whose state is :class:`FrechetState`.

    >>> metric = frechet_statistics(2)
    >>> state = metric.update(metric.init(), np.array([[1.0, 0.0], [3.0, 0.0]]))
    >>> state.num_samples, state.mean.tolist()
    (2, [2.0, 0.0])
    """

    def init() -> FrechetState:
        return FrechetState(0, np.zeros(num_features), np.zeros((num_features, num_features)))

    def update(state: FrechetState, features: Float[np.ndarray, "batch f"] | Float[Array, "batch f"]) -> FrechetState:
        values = np.asarray(features, np.float64)
        if values.shape[1] != num_features:
            raise ValueError(f"expected features [B, {num_features}], got shape {values.shape}")
        if not len(values):
            return state
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


def frechet_distance(a: FrechetState, b: FrechetState) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians with these moments.

    ``|m_a - m_b|^2 + tr(S_a + S_b) - 2 tr((S_a^1/2 S_b S_a^1/2)^1/2)``, with symmetric eigenvalues
    only. It is biased upwards: for two sets of n vectors of one law N(0, I_d) its expectation is about
    ``(2 d + d (d + 1) / 2) / n``, so compare at equal n alone, and beside real against real.

    Args:
        a: moments of the one set.
        b: moments of the other; as many features.

    Returns:
        The distance, >= 0.

    Raises:
        UsageError: a set has fewer vectors than features + 1, so that its covariance is singular.

    >>> metric = frechet_statistics(1)
    >>> a, b = (metric.update(metric.init(), np.array([[0.0], [2.0]]) + shift) for shift in (0.0, 3.0))
    >>> round(frechet_distance(a, b), 12)
    9.0
    """
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
