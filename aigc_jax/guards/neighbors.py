"""Detectors by distances to real examples in a feature space; they need samples alone, not the model."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from aigc_jax.metrics.checks import Features
from aigc_jax.metrics.knn_manifold import Overlap
from aigc_jax.metrics.neighbors import nearest


def neighbor_distance(real: Features, fake: Features, *, k: int = 5) -> Float64[np.ndarray, " num_fake"]:
    """Distance of each sample to its k-th nearest real example.

    Args:
        real: features of real examples [N, d].
        fake: features of samples [M, d], of the same encoder.
        k: which neighbour, in 1 ... N.

    Returns:
        float64 [M], higher = less reliable.

    Raises:
        UsageError: k is out of range, or features are not finite.

    Reference:
        Ramaswamy et al., "Efficient Algorithms for Mining Outliers from Large Data Sets", 2000, definition 2; for deep
        features Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022, section 3.

    >>> neighbor_distance(np.array([[0.0], [1.0], [5.0]]), np.array([[2.0], [9.0]]), k=2).tolist()
    [2.0, 8.0]
    """
    return nearest(fake, real, k, title="neighbours").distances[:, k - 1]


def inverse_realism(inside: Overlap) -> Float64[np.ndarray, " num_fake"]:
    """One over the realism score: the distance to a real example, in radii of its ball; the least over all balls.

    Args:
        inside: where samples lie among real examples, :func:`aigc_jax.metrics.knn_manifold.overlap`.

    Returns:
        float64 [M], higher = less reliable; at most 1 within one of the (smaller half of the) balls around real ones.

    Reference:
        Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019, equation 3.

    >>> from aigc_jax.metrics.knn_manifold import overlap
    >>> real = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> inverse_realism(overlap(real, np.array([[1.0], [9.0], [10.0]]), k=1, density_k=1)).round(6).tolist()
    [0.0, 5.0, 6.0]
    """
    with np.errstate(divide="ignore"):
        return 1.0 / inside.realism
