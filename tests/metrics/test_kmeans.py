"""Cells around k means: known clusters, Lloyd's fixed point, degenerate sets."""

import numpy as np
import pytest

from aigc_jax.metrics.kmeans import cell_of, kmeans
from aigc_jax.types import UsageError


def clusters(num=50, offset=0.0):
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    truth = np.repeat(np.arange(4), num)
    return means[truth] + rng.normal(size=(4 * num, 2)) + offset, truth


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_far_clusters_are_found(seed, offset):
    points, truth = clusters(offset=offset)
    cells = cell_of(points, kmeans(points, 4, seed=seed))
    assert len({(cell, name) for cell, name in zip(cells, truth, strict=True)}) == 4


def test_at_rest_each_centre_is_the_mean_of_its_cell():
    points = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    centers = kmeans(points, 5)
    cells = cell_of(points, centers)
    means = [points[cells == cell].astype(np.float64).mean(axis=0) for cell in range(5)]
    np.testing.assert_allclose(centers, means, atol=0.05)


def test_the_seed_decides():
    points = np.random.default_rng(2).normal(size=(300, 2))
    np.testing.assert_array_equal(kmeans(points, 7, seed=3), kmeans(points, 7, seed=3))
    assert not np.array_equal(kmeans(points, 7, seed=3), kmeans(points, 7, seed=4))


def test_no_more_centres_than_distinct_points():
    centers = kmeans(np.array([[1.0], [1.0], [2.0], [2.0]]), 4)
    assert sorted(centers.ravel().tolist()) == [1.0, 2.0]


@pytest.mark.parametrize("num_cells", [0, 201])
def test_impossible_numbers_of_cells_are_refused(num_cells):
    with pytest.raises(UsageError, match="200 points"):
        kmeans(clusters()[0], num_cells)
