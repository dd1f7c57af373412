"""Sample grids during training."""

import jax.numpy as jnp
import numpy as np

from aigc_jax.data.points import POINT
from aigc_jax.inference.grid import make_show_fn

from .toys import experiment


def test_show_fn_shows_the_same_samples_of_each_condition():
    toy = experiment(num_classes=3)
    draw = make_show_fn(toy, seed=0)
    variables = {"params": {"a": {"w": jnp.zeros(16)}}, "model_state": {}}
    grid = draw(variables)
    assert grid.shape[-1] == 3
    np.testing.assert_array_equal(grid, draw(variables))
    assert not np.array_equal(grid, make_show_fn(toy, seed=1)(variables))
    kept = toy._replace(modality=toy.modality._replace(show=lambda stored, ids, names, real: (stored, ids, names)))
    samples, ids, names = make_show_fn(kept, seed=0)(variables)
    assert np.bincount(ids).tolist() == [len(samples) // 3] * 3
    assert names == toy.conditions.names
    assert np.all(
        np.diff([samples[ids == each].mean() for each in range(3)]) > 5
    )  # the toy's classes differ in brightness


def test_show_fn_has_nothing_of_models_without_pictures_or_samples():
    toy = experiment(num_classes=None)
    assert make_show_fn(toy, 0)({"params": {"a": {"w": jnp.zeros(16)}}, "model_state": {}}).shape[-1] == 3
    assert make_show_fn(toy._replace(algorithm=toy.algorithm._replace(sample=None)), 0) is None
    points = toy._replace(modality=POINT, algorithm=toy.algorithm._replace(sample=lambda *given: jnp.zeros((1000, 5))))
    assert make_show_fn(points, 0)({}) is None
