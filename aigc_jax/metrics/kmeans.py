"""A partition of feature space into cells around k means."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from aigc_jax.metrics.neighbors import Features, checked_features, nearest
from aigc_jax.types import UsageError

NUM_ITERATIONS = 30
"""Lloyd's iteration is stopped here where it has not come to rest: cells need not be optimal to be cells."""


def kmeans(points: Features, num_cells: int, *, seed: int = 0) -> Float64[np.ndarray, "num_cells num_features"]:
    """Centres of cells: Lloyd's iteration from k-means++.

    Args:
        points: features [N, d].
        num_cells: number of cells, in 1 ... N.
        seed: of the first centres.

    Returns:
        The centres. Fewer than ``num_cells`` where there are fewer distinct points.

    Raises:
        UsageError: more cells than points, or features that are not finite.

    Reference:
        Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.

    >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> sorted(kmeans(points, 2).ravel().tolist())
    [0.5, 10.5]
    """
    (features,) = checked_features(points=points)
    if not 1 <= num_cells <= len(features):
        raise UsageError(f"expected 1 <= number of cells <= {len(features)} points, got {num_cells}: ask for fewer")
    centers, before = _spread(features, num_cells, np.random.default_rng(seed)), None
    for _ in range(NUM_ITERATIONS):
        cells = cell_of(features, centers)
        if before is not None and np.array_equal(cells, before):
            break
        for cell in np.unique(cells):  # an empty one keeps its centre
            centers[cell] = features[cells == cell].mean(axis=0, dtype=np.float64)
        before = cells
    return centers


def cell_of(
    points: Features, centers: Float64[np.ndarray, "num_cells num_features"]
) -> Int64[np.ndarray, " num_points"]:
    """The cell of each point: the nearest centre.

    Args:
        points: features [N, d].
        centers: as of :func:`kmeans`.

    Returns:
        Indices of centres [N].

    Raises:
        UsageError: features of another length, or features that are not finite.

    >>> cell_of(np.array([[1.0], [9.0]]), np.array([[0.0], [10.0]])).tolist()
    [0, 1]
    """
    return nearest(points, centers, 1, title="cells").indices[:, 0]


def _spread(features: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++: each next centre is a point drawn with odds of its squared distance to the centres so far."""
    centers = features[rng.integers(len(features), size=1)].astype(np.float64)
    squares = np.full(len(features), np.inf)
    while len(centers) < num:
        squares = np.minimum(squares, nearest(features, centers[-1:], 1, title="cells").distances[:, 0] ** 2)
        if not squares.any():
            break
        chosen = rng.choice(len(features), size=1, p=squares / squares.sum())
        centers = np.concatenate([centers, features[chosen].astype(np.float64)])
    return centers
