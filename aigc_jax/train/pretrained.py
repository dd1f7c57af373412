"""Pretrained models as parts of another experiment: a teacher, an autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from aigc_jax.data.files import visible
from aigc_jax.inference.reading import Reader, trained_reader
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import ImageConfig, TrainConfig, validate
from aigc_jax.train.config_io import config_from_values
from aigc_jax.train.data_record import read_record
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.run_dir import read_run
from aigc_jax.types import Algorithm, Experiment, TrainState, UsageError, Variables


def rebuild(run: Path, module: ModuleType, config: TrainConfig) -> tuple[Experiment, TrainState]:
    """The experiment of a run, whose settings anybody may have written, and the shapes of its state."""
    where = visible(str(run / "config.json"))
    try:
        validate(config)
        experiment: Experiment = module.build(config)
        return experiment, abstract_state(experiment)
    except UsageError:
        raise
    except Exception as error:  # settings within their ranges which no network can have
        raise UsageError(
            f"no model can be built of the settings in {where} ({type(error).__name__}: {visible(str(error))[:200]}): "
            "restore it from a copy, or train again"
        ) from error


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
    experiment, shapes = rebuild(Path(run), module, config)
    return config, experiment, load_variables(Path(run), shapes)


READERS = ("attribute_reader", "classifier_digits", "mixer_digits")
"""Configs of networks that read attributes of images."""


def load_reader(run: str, load_module: Callable[[str], ModuleType]) -> Reader:
    """The attributes that a trained reader or classifier reads, see :func:`aigc_jax.inference.reading.trained_reader`.

    Args:
        run: the run directory.
        load_module: from the name of a config to its module.

    Raises:
        UsageError: there is no such run, or it is one of another config.
    """
    config = read_run(Path(run)).config
    if config not in READERS:
        raise UsageError(
            f"expected a run that reads attributes, of {' or '.join(READERS)}; {visible(run)} is one of "
            f"{visible(config)}: aigc-jax train attribute_reader"
        )
    _, experiment, variables = load_pretrained(run, load_module(config))
    record = read_record(Path(run))
    return trained_reader(experiment, variables, () if record is None else record.fingerprint.class_names)


def load_autoencoder(run: str, module: ModuleType, config: ImageConfig) -> tuple[tuple[int, ...], Algorithm, Variables]:
    """Shape of a latent, algorithm and weights of a trained autoencoder of the images of a config.

    Args:
        run: the run directory.
        module: the config module that it must have been trained with; its ``Config`` has ``latent_shape``.
        config: whose ``image_shape`` and ``num_classes`` it must have.

    Raises:
        UsageError: as :func:`load_pretrained`; the images or classes differ, or the latents are no map.
    """
    theirs, experiment, variables = load_pretrained(run, module)
    for name in ("image_shape", "num_classes"):
        if getattr(theirs, name) != getattr(config, name):
            raise UsageError(
                f"the autoencoder {run} has {name} {getattr(theirs, name)}, this experiment {getattr(config, name)}: "
                f"train both with the same --{name.replace('_', '-')}"
            )
    if len(theirs.latent_shape) != 3:
        raise UsageError(f"expected an autoencoder with a map of latents, {run} has {theirs.latent_shape}")
    return theirs.latent_shape, experiment.algorithm, variables
