"""From names to experiments: configs by name, runs from their directories, training on opened data.

The layer between the command line and the library.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from aigc_jax.configs import config_names
from aigc_jax.data.pipeline import batches
from aigc_jax.errors import option
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import TrainConfig, check_ranges
from aigc_jax.train.config_io import config_from_values
from aigc_jax.train.data_record import checked_data, located, read_record, record_data, with_class_names
from aigc_jax.train.loop import EvaluateFn, TrainResult, train
from aigc_jax.train.parallel import Device
from aigc_jax.train.pretrained import rebuild
from aigc_jax.train.run_dir import read_run
from aigc_jax.train.watchdog import NO_LIMITS, Limits
from aigc_jax.types import Data, Experiment, UsageError, Variables


def load_config(name: str) -> ModuleType:
    """A module with a dataclass ``Config`` and a function ``build``: a shipped one by name, or a .py file."""
    if name.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(name).stem, name)
        if spec is None or spec.loader is None or not Path(name).is_file():
            raise UsageError(f"there is no config file {name}: give the path of a .py file, or a shipped name")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up by name
        spec.loader.exec_module(module)
    elif name in config_names():
        module = importlib.import_module(f"aigc_jax.configs.{name}")
    else:
        close = difflib.get_close_matches(name, config_names(), 1)
        did_you_mean = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(
            f"expected a config, one of {', '.join(config_names())} or a .py file; got {name!r}{did_you_mean}"
        )
    if not (hasattr(module, "Config") and hasattr(module, "build")):
        raise UsageError(f"{name} needs a dataclass Config and a function build(config), like configs/gan_digits.py")
    return module


def load_run(
    run: Path,
    *,
    checkpoint: str = "latest",
    config_file: Path | None = None,
    data: str | None = None,
    data_dir: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Experiment, TrainConfig, Variables]:
    """The experiment, settings and weights of a run directory. No code in it is executed.

    Args:
        run: the run directory.
        checkpoint: latest, best or a step.
        config_file: the config file, for a run of one that is not shipped.
        data: the name of the data now, if they were moved; else they are looked for where they were at training.
        data_dir: the folder of prepared tfds data now, likewise.
        overrides: ``{group: {setting: value}}``, see :func:`replaced`.
    """
    if not re.fullmatch("latest|best|[0-9]{1,18}", checkpoint):
        raise UsageError(f"expected --checkpoint latest, best or a step; got {checkpoint!r}")
    module = run_module(run, config_file)
    # One device suffices to sample, however many trained.
    values = {**located(run, read_run(run).values, data=data, data_dir=data_dir), "parallel": "jit"}
    config: TrainConfig = config_from_values(module.Config, values)
    config = replaced(config, {group: settings for group, settings in (overrides or {}).items() if settings})
    experiment, shapes = rebuild(run, module, config)
    experiment = experiment._replace(open_data=functools.partial(checked_data, run, config, experiment.open_data))
    record = read_record(run)
    experiment = with_class_names(experiment, () if record is None else record.fingerprint.class_names)
    which: Any = int(checkpoint) if checkpoint.isdigit() else checkpoint
    return experiment, config, load_variables(run, shapes, which=which)


def resolved(module: ModuleType, config: TrainConfig) -> TrainConfig:
    """A config with those settings that its data decide, such as a vocabulary, by the module's ``resolve``.

    They are written with the others, so that a run needs its data no more.
    """
    resolve = getattr(module, "resolve", None)
    return config if resolve is None else resolve(config)


def build_experiment(module: ModuleType, config: TrainConfig) -> tuple[Experiment, int | None]:
    """Build an experiment, with the length of its schedules; None where nothing was computed from ``steps``.

    ``module.build`` sees ``schedule_steps`` as ``steps``, where it is set.
    """
    length, read = config.schedule_steps or config.steps, set()

    def note(self: Any, name: str) -> Any:
        read.add(name)
        return object.__getattribute__(self, name)

    cls = type(config)
    noting = object.__new__(type(cls.__name__, (cls,), {"__getattribute__": note}))
    vars(noting).update({**vars(config), "steps": length})
    read.clear()
    experiment: Experiment = module.build(noting)
    return experiment, length if "steps" in read else None


def run_module(run: Path, config_file: Path | None = None) -> ModuleType:
    """The config module that a run was trained with; one that is not shipped has to be named."""
    described = read_run(run)
    if config_file is None and described.config not in config_names():
        raise UsageError(f"{run} was trained with the config file {described.config}: name it with --config FILE")
    return load_config(str(config_file) if config_file else described.config)


def run_settings(run: Path, config_file: Path | None, group: str) -> Any:
    """The settings of one group that a run was trained with; None where its config has no such group."""
    module = run_module(run, config_file)
    return settings_of(config_from_values(module.Config, read_run(run).values), group)


def settings_of(config: TrainConfig, group: str) -> Any:
    """The dataclass instance of one group of a configuration; None where there is none.

    >>> settings_of(TrainConfig(), "sampling")
    """
    settings = getattr(config, group, None)
    return settings if dataclasses.is_dataclass(settings) else None


def replaced(settings: Any, changes: Mapping[str, Any]) -> Any:
    """Settings with some of them replaced, those of a group by a mapping; UsageError for an unknown one.

    >>> replaced(TrainConfig(), {"steps": 3}).steps
    3
    """
    known = [field.name for field in dataclasses.fields(settings)]
    values = {}
    for name, value in changes.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UsageError(f"expected one of the settings {', '.join(known)}; got {name!r}{hint}")
        group = getattr(settings, name)
        is_group = isinstance(value, Mapping) and dataclasses.is_dataclass(group)
        values[name] = replaced(group, value) if is_group else value
    changed = dataclasses.replace(settings, **values)
    check_ranges(changed)
    return changed


def reported_settings(config: TrainConfig, group: str) -> dict[str, Any]:
    """The settings of one group that a reader needs: its ``REPORTED`` ones (all without), and those not at defaults."""
    settings = settings_of(config, group)
    if settings is None:
        return {}
    reported = getattr(settings, "REPORTED", [field.name for field in dataclasses.fields(settings)])
    values = {field.name: (getattr(settings, field.name), field.default) for field in dataclasses.fields(settings)}
    return {name: value for name, (value, default) in values.items() if name in reported or value != default}


def option_words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as words of a command line."""
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            group, dot, last = name.rpartition(".")
            words.append(option(name if value else f"{group}{dot}no-{last}"))
        else:
            words += [option(name), *map(str, value if isinstance(value, tuple | list) else [value])]
    return words


def run_training(
    experiment: Experiment,
    config: TrainConfig,
    workdir: Path,
    *,
    data: Data,
    name: str,
    resume_command: str | None,
    evaluate_fn: EvaluateFn | None = None,
    schedule_steps: int | None = None,
    devices: Sequence[Device] | None = None,
    limits: Limits = NO_LIMITS,
) -> TrainResult:
    """Train an experiment on opened data, see :func:`aigc_jax.train.loop.train`."""

    def batches_from(start_step: int) -> Iterator[dict[str, np.ndarray]]:
        return batches(
            data.train,
            batch_size=experiment.batch_spec["example"].shape[0],
            seed=config.seed,
            modality=experiment.modality,
            start_step=start_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_threads=config.data_workers,
        )

    return train(
        with_class_names(experiment, data.class_names),
        config,
        workdir,
        batches=batches_from,
        name=name,
        evaluate_fn=evaluate_fn,
        on_start=lambda state: record_data(workdir, config, data, is_resumed=int(state.step) > 0),
        resume_command=resume_command,
        schedule_steps=schedule_steps,
        devices=devices,
        limits=limits,
    )
