"""Precision, recall, density, coverage and realism of two sets of features, by balls around their examples.

A ball reaches to the k-th nearest neighbour of its centre in its own set; it is closed, so that duplicates are measured
too. For two sets of one distribution these numbers are not 1: precision and recall fall with the dimension (0.70 at d =
64, 0.55 at d = 1024, n = 2000, k = 5), density is 1 on average, and coverage has the expectation
:func:`expected_coverage`. So compare them with real against real at the same sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from aigc_jax.metrics.checks import Features, checked_features
from aigc_jax.metrics.neighbors import Manifold, features_of, manifold, tiles


class Overlap(NamedTuple):
    """Overlap of two sets, example by example; the means over examples are properties."""

    is_inside: Bool[np.ndarray, " num_fake"]
    """Whether each fake one lies in the ball of a real one."""
    is_recalled: Bool[np.ndarray, " num_real"]
    """Whether each real one lies in the ball of a fake one."""
    densities: Float64[np.ndarray, " num_fake"]
    """Number of balls of real ones that hold each fake one, over ``density_k``."""
    is_covered: Bool[np.ndarray, " num_real"]
    """Whether the ball of each real one holds a fake one."""
    realism: Float64[np.ndarray, " num_fake"]
    """Largest ratio of a ball's radius to the distance from its centre, over the smaller half of the balls."""
    density_k: int

    @property
    def precision(self) -> float:
        """Share of the fake ones that lie among the real ones."""
        return float(self.is_inside.mean())

    @property
    def recall(self) -> float:
        """Share of the real ones that lie among the fake ones."""
        return float(self.is_recalled.mean())

    @property
    def density(self) -> float:
        """Density of the real ones around the fake ones: 1 on average for sets of one distribution; may exceed 1."""
        return float(self.densities.mean())

    @property
    def coverage(self) -> float:
        """Share of the real ones that have a fake one near."""
        return float(self.is_covered.mean())


def overlap(real: Features | Manifold, fake: Features | Manifold, *, k: int = 3, density_k: int = 5) -> Overlap:
    """Improved precision and recall, density and coverage, and the realism score, from one pass over all distances.

    Args:
        real: features [N, d], or their :func:`aigc_jax.metrics.neighbors.manifold` of max(k, density_k) neighbours,
            which several calls can share.
        fake: features [M, d], or their manifold of k neighbours.
        k: of precision, recall and realism, in 1 ... min(N, M) - 1.
        density_k: of density and coverage, in 1 ... N - 1.

    Returns:
        All five, with the value of each example.

    Raises:
        ValueError: no [N, d] of numbers, features of different lengths, or a manifold of fewer neighbours.
        UsageError: too few examples for k, or features that are not finite.

    Reference:
        Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
        equations 1-3; Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020, section 3.

    >>> real = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> result = overlap(real, np.array([[1.0], [9.0], [10.0]]), k=1, density_k=2)
    >>> result.is_inside.tolist(), result.is_covered.tolist()
    ([True, False, False], [True, True, True, False, False])
    >>> result.recall, result.coverage, result.realism.round(6).tolist()
    (1.0, 0.6, [inf, 0.2, 0.166667])
    """
    real_features, fake_features = checked_features(real=features_of(real), fake=features_of(fake))
    real = manifold(real, max(k, density_k), title="real-real")
    fake = manifold(fake, k, title="fake-fake")
    radii = real.radii(k)
    limits, density_limits, fake_limits = (each**2 for each in (radii, real.radii(density_k), fake.radii(k)))
    median = np.median(radii)
    is_small = radii < median if (radii < median).any() else radii <= median
    # No ball of radius 0: it holds what coincides with its centre and has the ratio 0 to everything else.
    weights = 1.0 / np.maximum(limits, np.finfo(np.float64).tiny)
    is_inside, num_holding = np.zeros(len(fake_limits), bool), np.zeros(len(fake_limits), np.int64)
    is_recalled, is_covered = np.zeros(len(limits), bool), np.zeros(len(limits), bool)
    nearest_share = np.full(len(fake_limits), np.inf)  # least squared ratio of a distance from a centre to the radius
    for rows, columns, squares in tiles(real_features, fake_features, title="real-fake"):
        is_inside[columns] |= (squares <= limits[rows, None]).any(axis=0)
        is_dense = squares <= density_limits[rows, None]
        num_holding[columns] += is_dense.sum(axis=0)
        is_covered[rows] |= is_dense.any(axis=1)
        is_recalled[rows] |= (squares <= fake_limits[columns]).any(axis=1)
        small = is_small[rows]
        if small.any():
            with np.errstate(over="ignore"):
                share = (squares[small] * weights[rows][small, None]).min(axis=0)
            np.minimum(nearest_share[columns], share, out=nearest_share[columns])
    with np.errstate(divide="ignore"):
        realism = 1.0 / np.sqrt(nearest_share)
    return Overlap(is_inside, is_recalled, num_holding / density_k, is_covered, realism, density_k)


def expected_coverage(num_real: int, num_fake: int, k: int = 5) -> float:
    """Expectation of coverage where real and fake examples have one distribution, whichever it is.

    Args:
        num_real: number N of real examples, > k.
        num_fake: number M of fake ones, >= 1.
        k: neighbours, >= 1.

    Returns:
        ``1 - prod_{i=1..k} (N - i) / (M + N - i)``: of the k nearest among the other N - 1 real and the M fake ones
        around a real one, not all are real. About ``1 - 2^-k`` for N = M.

    Raises:
        ValueError: sizes out of range.

    Reference:
        Naeem et al., 2020, section 3: the expectation of coverage.

    >>> round(expected_coverage(2000, 2000, 3), 3)
    0.875
    """
    if not 1 <= k < num_real or num_fake < 1:
        raise ValueError(f"expected 1 <= k < num_real and num_fake >= 1, got k {k}, {num_real} and {num_fake}")
    i = np.arange(1, k + 1)
    return float(1.0 - np.prod((num_real - i) / (num_fake + num_real - i)))


def prdc(real: Features, fake: Features, *, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage by name, all with the same k, as the package of that name gives them.

    Args:
        real: features [N, d].
        fake: features [M, d].
        k: neighbours, in 1 ... min(N, M) - 1.

    Returns:
        ``{"precision", "recall", "density", "coverage"}``; the values of each example are in :func:`overlap`.

    Raises:
        UsageError: too few examples for k, or features that are not finite.

    >>> line = np.arange(5.0)[:, None]
    >>> prdc(line, line[:3], k=1)
    {'precision': 1.0, 'recall': 0.8, 'density': 2.6666666666666665, 'coverage': 0.8}
    """
    found = overlap(real, fake, k=k, density_k=k)
    return {name: getattr(found, name) for name in ("precision", "recall", "density", "coverage")}


def precision_recall(real: Features, fake: Features, *, k: int = 3) -> dict[str, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019) by name.

    Args:
        real: features [N, d].
        fake: features [M, d].
        k: neighbours, in 1 ... min(N, M) - 1.

    Returns:
        ``{"precision", "recall"}``; the values of each example are in :func:`overlap`.

    Raises:
        UsageError: too few examples for k, or features that are not finite.

    >>> line = np.arange(5.0)[:, None]
    >>> precision_recall(line, line[:3], k=1)
    {'precision': 1.0, 'recall': 0.8}
    """
    found = prdc(real, fake, k=k)
    return {name: found[name] for name in ("precision", "recall")}
