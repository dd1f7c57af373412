"""Sample grids during training."""

import jax.numpy as jnp
import numpy as np

from aigc_jax.data.points import POINT
from aigc_jax.inference.grid import make_show_fn

from .toys import experiment


def test_a_conditional_grid_has_a_row_per_class_and_is_fixed():
    toy = experiment(num_classes=3)
    draw = make_show_fn(toy, seed=0)
    variables = {"params": {"a": {"w": jnp.zeros(16)}}, "model_state": {}}
    grid = draw(variables)
    np.testing.assert_array_equal(grid, draw(variables))
    rows = np.array_split(grid[:, grid.shape[1] // 3 :].astype(float), 3)
    assert np.all(np.diff([row[row < 255].mean() for row in rows]) > 5)  # the toy shifts each class's brightness
    assert not np.array_equal(grid, make_show_fn(toy, seed=1)(variables))


def test_show_fn_has_nothing_of_models_without_pictures_or_samples():
    toy = experiment(num_classes=None)
    assert make_show_fn(toy, 0)({"params": {"a": {"w": jnp.zeros(16)}}, "model_state": {}}).shape[-1] == 3
    assert make_show_fn(toy._replace(algorithm=toy.algorithm._replace(sample=None)), 0) is None
    points = toy._replace(modality=POINT, algorithm=toy.algorithm._replace(sample=lambda *given: jnp.zeros((1000, 5))))
    assert make_show_fn(points, 0)({}) is None
