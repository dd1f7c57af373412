"""Pretrained models as parts of another experiment: a teacher, an autoencoder."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config_io import config_from_values
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.run_dir import read_run
from aigc_jax.types import Experiment, UsageError, Variables


def load_pretrained(run: str, module: ModuleType) -> tuple[Any, Experiment, Variables]:
    """The settings, experiment and newest weights of a run of a given config.

    Args:
        run: the run directory.
        module: the config module that it must have been trained with; no code in the run is executed.

    Returns:
        ``(config, experiment, variables)``.

    Raises:
        UsageError: there is no such run, it is one of another config, or its checkpoint cannot be loaded.
    """
    wanted = module.__name__.rpartition(".")[2]
    described = read_run(Path(run))
    if described.config != wanted:
        raise UsageError(f"expected a run of {wanted}, {run} is one of {described.config}: aigc-jax train {wanted}")
    config = config_from_values(module.Config, {**described.values, "parallel": "jit"})
    experiment: Experiment = module.build(config)
    return config, experiment, load_variables(Path(run), abstract_state(experiment))
