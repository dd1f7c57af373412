"""Distances between two sets of features, tile by tile: nearest neighbours in bounded memory.

50,000 x 50,000 distances fill 20 GB; a tile of them fills 8 MB. All arithmetic is float64 on features taken relative to
the mean of the points, which makes ``|x|^2 + |y|^2 - 2 x.y`` (one matrix product) safe: in float32, or far from the
origin, that difference keeps no digit. What is left of its rounding error has a bound, which is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64, Int64
from tqdm import tqdm

from aigc_jax.types import UsageError

Features = Float[np.ndarray, "_ _"] | Float[Array, "_ _"]
"""One row per example. float32 is fine and takes half the memory: it is turned into float64 tile by tile."""

BLOCK_SIZE = 1024
"""Rows and columns of a tile: 8 MB of distances, and 16 KB per feature for what they are made of."""


class Tile(NamedTuple):
    """The squared distances of some queries from some points.

    Attributes:
        rows: which queries.
        columns: which points.
        squares: squared distances, rounded down: below the truth by no more than rounding, never above it, >= 0. So
            those of coinciding examples are 0, and ``squares <= radius**2`` asks whether a closed ball holds them,
            with a margin for the rounding of a radius that was found as a distance itself.
    """

    rows: slice
    columns: slice
    squares: Float64[np.ndarray, "rows columns"]


class Neighbors(NamedTuple):
    """The nearest points of each query.

    Attributes:
        distances: rising, with the relative precision of float64; of coinciding examples exactly 0.
        indices: which points; of points at equal distances the first come first.
    """

    distances: Float64[np.ndarray, "num_queries k"]
    indices: Int64[np.ndarray, "num_queries k"]


def nearest(
    queries: Features, points: Features, k: int, *, block_size: int = BLOCK_SIZE, title: str = "nearest"
) -> Neighbors:
    """The k nearest points of each query, by Euclidean distance.

    Args:
        queries: features [N, d].
        points: features [M, d], M >= k.
        k: number of neighbours, >= 1.
        block_size: rows and columns of a tile. The result does not depend on it, but for which of several points comes
            last whose distances differ by rounding alone.
        title: of the progress bar, which is shown on a terminal only.

    Returns:
        Their distances and indices, [N, k].

    Raises:
        UsageError: fewer than k points, features of another length, or features that are not finite.

    >>> points = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> nearest(np.array([[0.0, 1.0]]), points, 1).distances
    array([[1.]])
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
    """The k nearest neighbours of each point among the other points; a duplicate of it is another point.

    Args:
        points: features [N, d], N > k.
        k: number of neighbours, >= 1.
        block_size: as of :func:`nearest`.
        title: of the progress bar, which is shown on a terminal only.

    Returns:
        Their distances and indices, [N, k].

    Raises:
        UsageError: fewer than k + 1 points, or features that are not finite.

    >>> nearest_others(np.array([[0.0], [1.0], [1.0], [5.0]]), 1).indices.ravel()
    array([1, 2, 1, 1])
    """
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


def tiles(
    queries: np.ndarray, points: np.ndarray | None = None, *, block_size: int = BLOCK_SIZE, title: str = "distances"
) -> Iterator[Tile]:
    """All squared distances, a tile at a time.

    Args:
        queries: features [N, d], as :func:`checked_features` returns them.
        points: features [M, d]; None for the queries themselves, of which each pair of blocks then comes once: on the
            diagonal or above it.
        block_size: rows and columns of a tile.
        title: of the progress bar, which is shown on a terminal only.

    Yields:
        The tiles, row by row. Each may be changed in place.

    >>> points = np.array([[0.0], [2.0]])
    >>> [tile.squares.round(9).tolist() for tile in tiles(points, points[:1], block_size=1)]
    [[[0.0]], [[4.0]]]
    """
    is_symmetric = points is None
    points = queries if points is None else points
    center = points.mean(axis=0, dtype=np.float64)
    row_blocks, column_blocks = _blocks(len(queries), block_size), _blocks(len(points), block_size)
    skipped = len(row_blocks) * (len(row_blocks) - 1) // 2 if is_symmetric else 0
    total = len(row_blocks) * len(column_blocks) - skipped
    with tqdm(total=total, desc=title, unit="tile", disable=None, leave=False) as bar:
        for number, rows in enumerate(row_blocks):
            left = _left(queries[rows], center)
            for columns in column_blocks[number if is_symmetric else 0 :]:
                squares = left @ _right(points[columns], center).T
                yield Tile(rows, columns, np.maximum(squares, 0.0, out=squares))
                bar.update()


def checked_features(**features: Features) -> list[np.ndarray]:
    """Features as numpy arrays, float32 or float64, once they are known to be fit for distances.

    Args:
        **features: by name, for the messages.

    Returns:
        The arrays, without a copy where they are float32 or float64 in memory already.

    Raises:
        UsageError: none, features of different lengths, or features that are not finite.

    >>> [array.shape for array in checked_features(real=np.ones((3, 2)), fake=np.zeros((4, 2)))]
    [(3, 2), (4, 2)]
    """
    arrays = {name: _as_float(values) for name, values in features.items()}
    lengths = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"expected features of one length, got {lengths}: encode all sets with one encoder")
    for name, array in arrays.items():
        if not array.size:
            raise UsageError(f"expected features of at least one example, got {name} of shape {array.shape}")
        # A sum is finite where all its terms are: cheaper than an array of yes and no.
        if not np.isfinite(array.sum(axis=0, dtype=np.float64)).all():
            raise UsageError(f"expected finite features, got NaN or infinity in {name}: look at what was encoded")
    return list(arrays.values())


def _as_float(values: Features) -> np.ndarray:
    array = np.asarray(values)
    # Half precisions are exact in float32, and numpy's own reductions know that.
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _check_enough(k: int, num: int, what: str) -> None:
    if not 1 <= k <= num:
        raise UsageError(f"{k} nearest neighbours need 1 <= k <= {num}, the number of {what}: ask for more examples")


def _blocks(num: int, block_size: int) -> list[slice]:
    return [slice(start, min(start + block_size, num)) for start in range(0, num, block_size)]


def _left(block: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Rows [-2 x, |x|^2, 1] for the product with [y, 1, |y|^2], which is |x - y|^2; the norms rounded down."""
    x, squares = _centered(block, center)
    return np.concatenate([-2.0 * x, squares, np.ones_like(squares)], axis=1)


def _right(block: np.ndarray, center: np.ndarray) -> np.ndarray:
    y, squares = _centered(block, center)
    return np.concatenate([y, np.ones_like(squares), squares], axis=1)


def _centered(block: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        """Take over what is smaller. Columns must be offered in order: the first of equals stays."""
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
