"""From a config and an algorithm to an experiment on labelled images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from aigc_jax.data.sources import open_data
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Algorithm, Experiment


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
