"""Nearest neighbours and distances between two sets of features, tile by tile in bounded memory.

All arithmetic is float64 on features less the mean of the points, which makes ``|x|^2 + |y|^2 - 2 x.y`` (one matrix
product) safe: in float32, or far from the origin, that difference keeps no digit. The remaining rounding error is
bounded, and the bound is subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from aigc_jax.metrics.checks import Features, checked_features
from aigc_jax.progress import Progress
from aigc_jax.types import UsageError

BLOCK_SIZE = 1024
"""Rows and columns of a tile: 8 MB of distances, and 16 KB per feature for the two factors of their product."""


class Tile(NamedTuple):
    """Squared distances of a block of queries from a block of points, rounded down: never above the exact ones.

    So those of coinciding examples are 0, and ``squares <= radius**2`` tests a closed ball.
    """

    rows: slice
    columns: slice
    squares: Float64[np.ndarray, "rows columns"]


class Neighbors(NamedTuple):
    """Nearest points of each query; of points at equal distances the first come first."""

    distances: Float64[np.ndarray, "num_queries k"]
    """Rising, with the relative precision of float64; of coinciding examples exactly 0."""
    indices: Int64[np.ndarray, "num_queries k"]


def nearest(
    queries: Features, points: Features, k: int, *, block_size: int = BLOCK_SIZE, title: str = "nearest"
) -> Neighbors:
    """K nearest points [M, d] of each query [N, d], by Euclidean distance.

    Raises UsageError for fewer than k points, or features that are not finite. ``block_size`` changes the result in the
    order of points alone whose distances differ by rounding.
    """
    rows, columns = checked_features(queries=queries, points=points)
    _check_enough(k, len(columns), "points")
    best = _Best(len(rows), k)
    for tile in tiles(rows, columns, block_size=block_size, title=title):
        best.offer(tile.rows, tile.columns, tile.squares)
    return _refined(rows, columns, best, block_size)


def nearest_others(
    points: Features, k: int, *, block_size: int = BLOCK_SIZE, title: str = "nearest others"
) -> Neighbors:
    """K nearest neighbours of each point among the other points; a duplicate is another point."""
    (rows,) = checked_features(points=points)
    _check_enough(k, len(rows) - 1, "other points")
    best = _Best(len(rows), k)
    for tile in tiles(rows, block_size=block_size, title=title):
        if tile.rows == tile.columns:
            np.fill_diagonal(tile.squares, np.inf)
        else:
            best.offer(tile.columns, tile.rows, tile.squares.T)
        best.offer(tile.rows, tile.columns, tile.squares)
    return _refined(rows, rows, best, block_size)


class Manifold(NamedTuple):
    """A set of features, and how far each example is from its neighbours in the set.

    The union of balls around the examples that reach to the k-th neighbour stands for the manifold of the data. Several
    metrics need it: compute it once with :func:`manifold` and pass it in place of the features.
    """

    features: Float[np.ndarray, "num num_features"]
    distances: Float64[np.ndarray, "num k"]
    """To the k nearest other examples, rising."""

    def radii(self, k: int) -> Float64[np.ndarray, " num"]:
        """Distance of each example to its k-th nearest other one."""
        if not 1 <= k <= self.distances.shape[1]:
            raise ValueError(
                f"expected 1 <= k <= {self.distances.shape[1]}, the neighbours of this manifold, got {k}: compute "
                f"manifold(features, {k})"
            )
        return self.distances[:, k - 1]


def manifold(features: Features | Manifold, k: int = 5, *, title: str = "manifold") -> Manifold:
    """The manifold of a set of features, to be passed to several metrics.

    Args:
        features: [N, d], N > k; a manifold is returned as it is.
        k: number of neighbours, >= 1: the largest that any metric asks for.
        title: of the progress bar, which is shown on a terminal only.

    Returns:
        The manifold.

    Raises:
        UsageError: fewer than k + 1 examples, or features that are not finite.

    >>> manifold(np.array([[0.0], [1.0], [1.0], [5.0]]), 2).radii(2).tolist()
    [1.0, 1.0, 1.0, 4.0]
    """
    if isinstance(features, Manifold):
        return features
    (values,) = checked_features(features=features)
    return Manifold(values, nearest_others(values, k, title=title).distances)


def features_of(given: Features | Manifold) -> Features:
    """The features of a manifold; features themselves as they are."""
    return given.features if isinstance(given, Manifold) else given


def tiles(
    queries: np.ndarray, points: np.ndarray | None = None, *, block_size: int = BLOCK_SIZE, title: str = "distances"
) -> Iterator[Tile]:
    """Squared distances of all pairs, one tile at a time, row by row; each may be changed in place.

    Without ``points`` those of the queries among themselves: each pair of blocks once, on the diagonal or above.
    """
    is_symmetric = points is None
    points = queries if points is None else points
    center = points.mean(axis=0, dtype=np.float64)
    row_blocks, column_blocks = _blocks(len(queries), block_size), _blocks(len(points), block_size)
    skipped = len(row_blocks) * (len(row_blocks) - 1) // 2 if is_symmetric else 0
    total = len(row_blocks) * len(column_blocks) - skipped
    with Progress(total, title, "tile") as bar:
        for number, rows in enumerate(row_blocks):
            # Rows [-2 x, |x|^2, 1] times [y, 1, |y|^2] are |x - y|^2.
            x, norms = _centered(queries[rows], center)
            left = np.concatenate([-2.0 * x, norms, np.ones_like(norms)], axis=1)
            for columns in column_blocks[number if is_symmetric else 0 :]:
                y, norms = _centered(points[columns], center)
                squares = left @ np.concatenate([y, np.ones_like(norms), norms], axis=1).T
                yield Tile(rows, columns, np.maximum(squares, 0.0, out=squares))
                bar.update()


def _check_enough(k: int, num: int, name: str) -> None:
    if not 1 <= k <= num:
        raise UsageError(f"{k} nearest neighbours need 1 <= k <= {num}, the number of {name}: ask for more examples")


def _blocks(num: int, block_size: int) -> list[slice]:
    return [slice(start, min(start + block_size, num)) for start in range(0, num, block_size)]


def _centered(block: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features less the centre, and their squared norms [num, 1], rounded down."""
    x = block.astype(np.float64) - center
    # A sum of d + 2 products errs by (d + 2) eps / 2 of the sum of their sizes, which is at most 2 (|x|^2 + |y|^2), as
    # 2 x.y <= |x|^2 + |y|^2. The norms and the centring err by less: four times that leaves a margin.
    return x, np.einsum("nd,nd->n", x, x)[:, None] * (1.0 - 4.0 * (len(center) + 2) * np.finfo(np.float64).eps)


class _Best:
    """The k smallest squares of each query among those offered so far, rising."""

    def __init__(self, num_queries: int, k: int) -> None:
        self.squares = np.full((num_queries, k), np.inf)
        self.indices = np.zeros((num_queries, k), np.int64)

    def offer(self, rows: slice, columns: slice, squares: np.ndarray) -> None:
        """Keep the smaller ones. Columns must be offered in order: the first of equals stays."""
        best, indices = self.squares[rows], self.indices[rows]
        k, limit = best.shape[1], best[:, -1]
        if np.isinf(limit).any() and squares.shape[1] > k:
            # The first tile: its own k-th smallest, and its equals, of which the first in order are kept below.
            limit = np.minimum(limit, np.nextafter(np.partition(squares, k - 1, axis=1)[:, k - 1], np.inf))
        found = np.flatnonzero(squares < limit[:, None])
        if not len(found):
            return
        row, column = np.divmod(found, squares.shape[1])
        touched, start, count = np.unique(row, return_index=True, return_counts=True)
        place = np.arange(len(found)) - np.repeat(start, count) + k
        line = np.repeat(np.arange(len(touched)), count)
        pool, names = np.full((len(touched), k + count.max()), np.inf), np.zeros((len(touched), k + count.max()), int)
        pool[:, :k], names[:, :k] = best[touched], indices[touched]
        pool[line, place], names[line, place] = squares[row, column], column + columns.start
        order = np.argsort(pool, axis=1, kind="stable")[:, :k]
        best[touched] = np.take_along_axis(pool, order, axis=1)
        indices[touched] = np.take_along_axis(names, order, axis=1)


def _refined(queries: np.ndarray, points: np.ndarray, best: _Best, block_size: int) -> Neighbors:
    """Distances of the chosen pairs from their differences: few enough, and exact where points coincide."""
    squares = np.empty_like(best.squares)
    for rows in _blocks(len(queries), block_size):
        block = queries[rows].astype(np.float64)
        for rank in range(squares.shape[1]):
            difference = block - points[best.indices[rows, rank]]
            squares[rows, rank] = np.einsum("nd,nd->n", difference, difference)
    order = np.lexsort((best.indices, squares), axis=1)
    distances = np.sqrt(np.take_along_axis(squares, order, axis=1))
    return Neighbors(distances, np.take_along_axis(best.indices, order, axis=1))
