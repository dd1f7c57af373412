"""Points as data and as a picture."""

import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.pipeline import batches
from aigc_jax.data.points import POINT, scatter


def test_batches_of_points_are_unchanged():
    points = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    source = ArraySource(points, np.arange(10), name="point")
    assert source[3]["label"] == 3
    np.testing.assert_array_equal(source[3]["point"], points[3])
    batch = next(batches(source, batch_size=4, seed=0, modality=POINT, num_threads=0))
    np.testing.assert_array_equal(batch["example"], points[batch["condition"]])
    assert set(ArraySource(points, name="point")[0]) == {"point"}


def test_scatter_draws_a_point_in_its_place():
    empty = scatter(np.full((1, 2), 9.0, np.float32)).astype(int)
    corner = np.array([[2.0, 2.0]], np.float32)
    changed = np.abs(scatter(np.concatenate([np.full((1, 2), 9.0, np.float32), corner])) - empty).sum(axis=-1)
    rows, columns = np.nonzero(changed[60:] > 30)  # below the title
    assert rows.size
    assert rows.mean() < 60
    assert columns.mean() > 380


def test_scatter_colours_classes_and_takes_nan():
    points = np.array([[0.0, 0.0], [np.nan, 0.0]], np.float32)
    pictures = [scatter(points, np.array([label, 0])) for label in (0, 1)]
    assert np.any(pictures[0] != pictures[1])
    assert np.any(scatter(points, real=np.ones((5, 2), np.float32)) != scatter(points))
