"""Recall, density, coverage and Fréchet distance of blocks of examples: of one size, whatever the number of samples.

Each of them changes with the size of both sets. So the samples and the held-out examples are cut into blocks of
:data:`BLOCK` examples, and every block is compared with the same training examples: the mean
over blocks estimates one quantity at any number of samples, and its spread over blocks says how well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from aigc_jax.metrics.knn_manifold import overlap
from aigc_jax.metrics.neighbors import Manifold, manifold

BLOCK = 100
"""Examples of a block: the size at which recall, coverage and Fréchet distance are compared."""

NUM_REFERENCE = 1000
"""Training examples that blocks and precision are compared with: the same ones for any number of samples."""


class Reference(NamedTuple):
    """The training examples that each block is compared with."""

    subsets: Sequence[Manifold]
    """In subsets of the size of a block."""
    mean: Float64[np.ndarray, " f"]
    root: Float64[np.ndarray, "f f"]
    """The symmetric square root of their covariance."""
    variance: float
    """The trace of their covariance."""


def make_reference(features: Float[np.ndarray, "num f"], num_neighbors: int) -> Reference:
    """The reference of at least :data:`BLOCK` training examples."""
    subsets = [features[start : start + BLOCK] for start in range(0, len(features) - BLOCK + 1, BLOCK)]
    values = np.asarray(features, np.float64)
    covariance = np.cov(values, rowvar=False).reshape(values.shape[1], -1)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T
    manifolds = [manifold(each, num_neighbors, title="training examples") for each in subsets]
    return Reference(manifolds, values.mean(axis=0), root, float(np.trace(covariance)))


def block_statistics(
    features: Float[np.ndarray, "num f"], reference: Reference, k: int, density_k: int
) -> dict[str, Float64[np.ndarray, " block"]]:
    """``{recall, density, coverage, frechet_distance: a value of each whole block}`` of examples in their order."""
    names = ("recall", "density", "coverage", "frechet_distance")
    found: dict[str, list[float]] = {name: [] for name in names}
    for start in range(0, len(features) - BLOCK + 1, BLOCK):
        block = features[start : start + BLOCK]
        own = manifold(block, k, title="block")
        overlaps = [overlap(subset, own, k=k, density_k=density_k) for subset in reference.subsets]
        for name in names[:3]:
            found[name].append(float(np.mean([getattr(each, name) for each in overlaps])))
        found["frechet_distance"].append(_frechet(block, reference))
    return {name: np.array(values) for name, values in found.items()}


def _frechet(block: np.ndarray, reference: Reference) -> float:
    """The squared Fréchet distance; the block's covariance has its rank, so that singular values are enough."""
    values = np.asarray(block, np.float64)
    centred = (values - values.mean(axis=0)) / np.sqrt(len(values) - 1)
    shared = np.linalg.svd(centred @ reference.root, compute_uv=False).sum()
    offset = values.mean(axis=0) - reference.mean
    return float(offset @ offset + (centred**2).sum() + reference.variance - 2 * shared)


def balanced_order(condition: Int[np.ndarray, " num"]) -> Int[np.ndarray, " num"]:
    """An order in which each stretch has all classes about as often as the whole.

    >>> balanced_order(np.array([0, 0, 0, 0, 1, 1])).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    counts, rank = np.bincount(condition), np.zeros(len(condition))
    for each in np.unique(condition):
        is_class = condition == each
        rank[is_class] = (np.arange(int(counts[each])) + 0.5) / counts[each]
    return np.lexsort((-condition, rank))
