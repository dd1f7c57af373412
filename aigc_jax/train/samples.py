"""Sample grids: the same samples again and again while the model learns."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.images import make_grid, to_uint8
from aigc_jax.rng import split_by_name
from aigc_jax.types import Experiment, Variables

MAX_ROWS, NUM_COLUMNS = 10, 10

GridFn = Callable[[Variables], np.ndarray]
"""``variables -> uint8 [H, W, 3]``."""


def make_grid_fn(experiment: Experiment, seed: int) -> GridFn | None:
    """A function that draws a grid of samples, always with the same key and conditions.

    Args:
        experiment: what is trained.
        seed: the run's seed.

    Returns:
        The function, a row per class (the first ten) for a conditional model; None for a model that draws
        no images.
    """
    sample_fn, num_classes = experiment.algorithm.sample, experiment.num_classes
    image = experiment.batch_spec.get("image")
    if sample_fn is None or image is None or len(image.shape) != 4 or image.shape[-1] not in (1, 3):
        return None
    key = split_by_name(jax.random.key(seed), "grid")["grid"]
    num_rows = MAX_ROWS if num_classes is None else min(num_classes, MAX_ROWS)
    labels = None if num_classes is None else [str(row) for row in range(num_rows)]
    condition = None if labels is None else jnp.repeat(jnp.arange(num_rows, dtype=jnp.int32), NUM_COLUMNS)
    sample = jax.jit(lambda variables: sample_fn(variables, key, num_rows * NUM_COLUMNS, condition))

    def draw(variables: Variables) -> np.ndarray:
        images = np.nan_to_num(np.asarray(sample(variables)))
        return make_grid(to_uint8(images), NUM_COLUMNS, row_labels=labels)

    return draw
