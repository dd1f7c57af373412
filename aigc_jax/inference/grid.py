"""Pictures of samples: the same samples again and again while the model learns."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.images import make_grid, to_uint8
from aigc_jax.data.points import scatter
from aigc_jax.rng import split_by_name
from aigc_jax.types import Experiment, Variables

MAX_ROWS, NUM_COLUMNS = 10, 10
NUM_POINTS = 1000

GridFn = Callable[[Variables], np.ndarray]
"""``variables -> uint8 [H, W, 3]``."""


def make_grid_fn(experiment: Experiment, seed: int) -> GridFn | None:
    """A function that draws a picture of samples, always with the same key and conditions.

    Args:
        experiment: what is trained.
        seed: the run's seed.

    Returns:
        The function: a grid of images, with a row per class (the first ten) for a conditional model, or points of
        the plane before those of their world. None for a model that draws neither.
    """
    sample_fn, num_classes = experiment.algorithm.sample, experiment.num_classes
    if sample_fn is None:
        return None
    key = split_by_name(jax.random.key(seed), "grid")["grid"]
    shape = experiment.batch_spec[experiment.example_name].shape
    if experiment.example_name == "point" and shape[1:] == (2,):
        index = jnp.arange(NUM_POINTS, dtype=jnp.int32)
        return _points_fn(experiment, key, None if num_classes is None else index % num_classes)
    if experiment.example_name != "image" or len(shape) != 4 or shape[-1] not in (1, 3):
        return None
    num_rows = MAX_ROWS if num_classes is None else min(num_classes, MAX_ROWS)
    labels = None if num_classes is None else [str(row) for row in range(num_rows)]
    condition = None if labels is None else jnp.repeat(jnp.arange(num_rows, dtype=jnp.int32), NUM_COLUMNS)
    sample = jax.jit(lambda variables: sample_fn(variables, key, num_rows * NUM_COLUMNS, condition))

    def draw(variables: Variables) -> np.ndarray:
        images = np.nan_to_num(np.asarray(sample(variables)))
        return make_grid(to_uint8(images), NUM_COLUMNS, row_labels=labels)

    return draw


def _points_fn(experiment: Experiment, key: jax.Array, condition: jax.Array | None) -> GridFn:
    sample_fn = experiment.algorithm.sample
    assert sample_fn is not None  # for the type checker: make_grid_fn has looked
    sample = jax.jit(lambda variables: sample_fn(variables, key, NUM_POINTS, condition))
    world = experiment.world
    real = None if world is None else np.asarray(world.sample(key, NUM_POINTS, None))
    labels = None if condition is None else np.asarray(condition)
    return lambda variables: scatter(np.asarray(sample(variables)), labels, real=real)
