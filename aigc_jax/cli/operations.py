"""The operations of a training step, for commands that print them."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import jax

from aigc_jax.inference.flops import count_flops
from aigc_jax.runs import build_experiment, replaced
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import abstract_batch, abstract_state, training_step
from aigc_jax.types import Experiment


def step_operations(module: ModuleType, config: TrainConfig) -> tuple[int, str]:
    """The operations of a step over all devices, and in words those of rematerialisation, no work of the model."""
    config = dataclasses.replace(config, parallel="jit")
    kept = replaced(config, {group: {"remat": "none"} for group in groups_with_remat(config)})
    model, program = (_flops(build_experiment(module, each)[0]) for each in (kept, config))
    again = f", {program / model - 1:.0%} more with what is computed again" if program > model else ""
    return model, again


def groups_with_remat(config: TrainConfig) -> list[str]:
    """The groups of settings that have ``remat``."""
    return [name for name, group in vars(config).items() if dataclasses.is_dataclass(group) and hasattr(group, "remat")]


def _flops(experiment: Experiment) -> int:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return count_flops(training_step(experiment), abstract_state(experiment), abstract_batch(experiment), key)
