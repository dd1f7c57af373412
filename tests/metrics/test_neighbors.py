"""Blocked distances against scipy's direct ones, far from the origin, with duplicates and in bounded memory."""

import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from aigc_jax.metrics.neighbors import checked_features, nearest, nearest_others, tiles
from aigc_jax.types import UsageError


def sets(num_queries=70, num_points=53, d=5, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_queries, d)) + offset, rng.normal(size=(num_points, d)) + offset


def oracle(queries, points, k):
    distances = cdist(queries, points)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, indices, axis=1), indices


@pytest.mark.parametrize("block_size", [1, 7, 53, 70, 1000])
@pytest.mark.parametrize("k", [1, 4, 53])
def test_nearest_agrees_with_scipy_for_all_blocks(block_size, k):
    queries, points = sets()
    found = nearest(queries, points, k, block_size=block_size)
    distances, indices = oracle(queries, points, k)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)
    np.testing.assert_array_equal(found.indices, indices)


@pytest.mark.parametrize("block_size", [1, 9, 1000])
@pytest.mark.parametrize("k", [1, 4, 69])
def test_nearest_others_agrees_with_scipy_for_all_blocks(block_size, k):
    points, _ = sets()
    found = nearest_others(points, k, block_size=block_size)
    distances, indices = oracle(points, points, 70)
    np.testing.assert_array_equal(found.indices, indices[:, 1 : k + 1])
    np.testing.assert_allclose(found.distances, distances[:, 1 : k + 1], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_far_from_the_origin_loses_no_digit(dtype):
    queries, points = (x.astype(dtype) for x in sets(d=64, offset=1e5))
    distances, indices = oracle(queries.astype(np.float64), points.astype(np.float64), 3)
    found = nearest(queries, points, 3, block_size=16)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-14)
    for tile in tiles(*checked_features(queries=queries, points=points), block_size=16):
        truth = cdist(queries[tile.rows].astype(np.float64), points[tile.columns].astype(np.float64)) ** 2
        np.testing.assert_allclose(tile.squares, truth, rtol=1e-12)
    # What this test is for: the same sum in float32, without the centre, has no digit in common with the truth.
    x, y = queries.astype(np.float32), points.astype(np.float32)
    naive = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T
    assert np.median(np.abs(naive - cdist(x, y) ** 2) / cdist(x, y) ** 2) > 0.5


def test_tiles_never_exceed_exact_distances():
    queries, points = sets(d=200, offset=3.0)
    points[:10] = queries[:10]
    points[10:20] = queries[10:20] + 1e-9
    differences = queries.astype(np.longdouble)[:, None] - points.astype(np.longdouble)
    truth, gaps = (differences**2).sum(axis=-1), []
    for tile in tiles(queries, points, block_size=30):
        gap = truth[tile.rows, tile.columns] - tile.squares
        assert (tile.squares >= 0).all()
        assert (gap >= 0).all()
        gaps.append(gap.max())
    assert 0 < max(gaps) < 1e-9


def test_tiles_of_one_set_hold_each_pair_once():
    points, _ = sets(num_queries=20)
    seen = np.zeros((20, 20), int)
    for tile in tiles(points, block_size=6):
        seen[tile.rows, tile.columns] += 1
        if tile.rows != tile.columns:
            seen[tile.columns, tile.rows] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_nearest_duplicates_are_at_distance_0_first_first(block_size):
    points = np.array([[1e3, 0.1], [5.0, 0.3], [1e3, 0.1], [1e3, 0.1], [5.0, 0.3], [-7.0, 2.0]])
    found = nearest(points, points, 2, block_size=block_size)
    assert found.distances[[0, 1, 2, 3, 4]].tolist() == [[0.0, 0.0]] * 5
    assert found.indices.tolist()[:5] == [[0, 2], [1, 4], [0, 2], [0, 2], [1, 4]]
    others = nearest_others(points, 1, block_size=block_size)
    assert others.indices.ravel().tolist()[:5] == [2, 4, 0, 0, 1]
    assert others.distances.ravel()[:5].tolist() == [0.0] * 5
    assert others.distances[5, 0] > 0


@pytest.mark.parametrize("block_size", [7, 50, 1000])
def test_nearest_of_many_equals_are_the_first(block_size):
    points = np.tile([[3.3, 0.1]], (150, 1))
    np.testing.assert_array_equal(nearest(points[:2], points, 40, block_size=block_size).indices, [np.arange(40)] * 2)


@pytest.mark.parametrize("is_rising", [True, False])
def test_nearest_of_points_in_order_of_distance(is_rising):
    # Falling: every tile holds nothing but better candidates than all before.
    points = np.sort(np.random.default_rng(1).normal(size=(90, 1)) ** 2, axis=0)
    points = points if is_rising else points[::-1]
    found = nearest(np.zeros((3, 1)), points, 5, block_size=4)
    distances, indices = oracle(np.zeros((3, 1)), points, 5)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, distances)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_nearest_others_of_half_precision_is_exact(dtype):
    features = jnp.asarray(sets()[0], dtype)
    exact = np.asarray(features).astype(np.float64)
    np.testing.assert_array_equal(nearest_others(features, 2).distances, nearest_others(exact, 2).distances)


def test_nearest_others_memory_is_bounded_by_the_tile():
    points = np.random.default_rng(2).normal(size=(3000, 16)).astype(np.float32)
    tracemalloc.start()
    nearest_others(points, 3, block_size=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # all distances: 72e6


def test_nearest_refuses_impossible_k_and_features():
    queries, points = sets()
    with pytest.raises(UsageError, match="1 <= k <= 53"):
        nearest(queries, points, 54)
    with pytest.raises(UsageError, match="1 <= k <= 52"):
        nearest_others(points, 53)
    with pytest.raises(ValueError, match="one length"):
        nearest(queries, points[:, :3], 1)
    with pytest.raises(UsageError, match="at least one"):
        nearest(queries[:0], points, 1)
    queries[4, 2] = np.nan
    with pytest.raises(UsageError, match="queries"):
        nearest(queries, points, 1)
