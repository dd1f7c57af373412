"""aigc_jax: generative models in JAX that people can rely on.

The names that a training loop of your own needs. Everything else is imported from its module:
``aigc_jax.nets.resnet``, ``aigc_jax.losses.regularizers``, ``aigc_jax.train.loop`` and so on.
"""

from aigc_jax.algorithms.classifier import classifier
from aigc_jax.algorithms.gan import Networks, clip_weights, gan
from aigc_jax.players import init_state, make_step
from aigc_jax.rng import example_keys, split_by_name, step_key
from aigc_jax.types import Algorithm, Data, Experiment, Metric, Player, TrainState, UsageError

__all__ = [
    "Algorithm",
    "Data",
    "Experiment",
    "Metric",
    "Networks",
    "Player",
    "TrainState",
    "UsageError",
    "classifier",
    "clip_weights",
    "example_keys",
    "gan",
    "init_state",
    "make_step",
    "split_by_name",
    "step_key",
]
