"""From a config and an algorithm to an experiment on labelled images, or on a world of points."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.data.points import PointSource
from aigc_jax.data.sources import open_data
from aigc_jax.rng import split_by_name
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Algorithm, Data, Experiment, UsageError, World

NUM_TRAIN, NUM_HELD_OUT = 50_000, 10_000
"""Examples that a world is asked for."""


def image_experiment(config: TrainConfig, algorithm: Algorithm, *, updates_per_step: int = 1) -> Experiment:
    """An experiment on labelled images.

    Args:
        config: names the data and its shape.
        algorithm: what is trained on it.
        updates_per_step: the most active player's updates per step (n_critic); each gets its own
            ``config.batch_size`` examples.

    Returns:
        The experiment; its data is opened only when asked for.
    """
    num_examples = config.batch_size * updates_per_step
    spec = {"image": jax.ShapeDtypeStruct((num_examples, *config.image_shape), jnp.float32)}
    if config.num_classes is not None:
        spec["label"] = jax.ShapeDtypeStruct((num_examples,), jnp.int32)

    return Experiment(
        algorithm=algorithm,
        open_data=lambda: open_data(
            config.data, data_dir=config.data_dir, image_shape=config.image_shape, num_classes=config.num_classes
        ),
        batch_spec=spec,
        num_classes=config.num_classes,
    )


def point_experiment(config: TrainConfig, world: World, algorithm: Algorithm) -> Experiment:
    """An experiment on points of a world, which then judges the samples.

    Args:
        config: ``num_classes`` is the number of modes for a model that is told the mode, None for one that is not.
        world: where the examples come from.
        algorithm: what is trained on them.

    Returns:
        The experiment; examples are drawn only when asked for, always the same ones.

    Raises:
        UsageError: ``num_classes`` is not the number of modes.
    """
    if config.num_classes not in (None, world.num_modes):
        raise UsageError(
            f"{world.name} has {world.num_modes} modes to condition on, got {config.num_classes}: "
            f"pass --num-classes {world.num_modes} or None"
        )
    example = jax.eval_shape(lambda: world.sample(jax.random.key(0), 1, None))
    spec = {"point": jax.ShapeDtypeStruct((config.batch_size, *example.shape[1:]), jnp.float32)}
    if config.num_classes is not None:
        spec["label"] = jax.ShapeDtypeStruct((config.batch_size,), jnp.int32)
    return Experiment(
        algorithm=algorithm,
        open_data=lambda: _world_data(world, is_labelled=config.num_classes is not None),
        batch_spec=spec,
        num_classes=config.num_classes,
        world=world,
    )


def _world_data(world: World, *, is_labelled: bool) -> Data:
    def source(key: jax.Array, num_examples: int) -> PointSource:
        points = world.sample(key, num_examples, None)
        return PointSource(np.asarray(points), np.asarray(world.mode(points)) if is_labelled else None)

    # Always the same examples: the seed of a run is that of its training alone.
    keys = split_by_name(jax.random.key(0), "train", "held_out")
    names = [f"mode {index}" for index in range(world.num_modes)] if is_labelled else []
    return Data(world.name, source(keys["train"], NUM_TRAIN), source(keys["held_out"], NUM_HELD_OUT), names)
