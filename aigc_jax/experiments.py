"""From names to experiments: configs by name, runs from their directories, the classifier that judges.

The layer between the command line and the library: what a notebook would do by hand.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

import aigc_jax.configs
from aigc_jax.data.pipeline import batches, epoch
from aigc_jax.report.encode import Encoder
from aigc_jax.report.evaluate import evaluate
from aigc_jax.report.report import Report
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import EvaluateFn, TrainResult, abstract_state, train
from aigc_jax.train.run_dir import read_run
from aigc_jax.train.sampling import make_encode_fn, make_sample_fn
from aigc_jax.train.values import config_from_values
from aigc_jax.types import Data, Experiment, UsageError, Variables


def config_names() -> list[str]:
    """The shipped experiments, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(aigc_jax.configs.__path__))


def load_config(name: str) -> ModuleType:
    """A config module, by the name of a shipped one or by the path of a file.

    Args:
        name: ``gan_digits`` or ``my/experiment.py``.

    Returns:
        A module with a dataclass ``Config`` and a function ``build``.

    Raises:
        UsageError: there is none, or it lacks one of the two.

    >>> load_config("gan_digits").Config().steps
    2500
    """
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
        raise UsageError(f"expected a config, one of {', '.join(config_names())} or a .py file; got {name!r}")
    if not (hasattr(module, "Config") and hasattr(module, "build")):
        raise UsageError(f"{name} needs a dataclass Config and a function build(config), like configs/gan_digits.py")
    return module


def load_run(
    run: Path, *, checkpoint: str = "latest", config_file: Path | None = None, data_dir: str | None = None
) -> tuple[Experiment, TrainConfig, Variables]:
    """The experiment, settings and weights of a run directory.

    Args:
        run: the run directory. No code in it is executed: a run of a config file needs that file named.
        checkpoint: latest, best or a step.
        config_file: the config file, for a run of one that is not shipped.
        data_dir: where the data lies now, if it was moved.

    Returns:
        ``(experiment, config, variables)``.

    Raises:
        UsageError: the run, its config or its checkpoint cannot be loaded.
    """
    described = read_run(run)
    if config_file is None and described.config not in config_names():
        raise UsageError(f"{run} was trained with the config file {described.config}: name it with --config FILE")
    if not re.fullmatch(r"latest|best|\d+", checkpoint):
        raise UsageError(f"expected --checkpoint latest, best or a step; got {checkpoint!r}")
    module = load_config(str(config_file) if config_file else described.config)
    # One device suffices to sample, however many trained.
    values = {**described.values, "parallel": "jit"} | ({"data_dir": data_dir} if data_dir else {})
    config: TrainConfig = config_from_values(module.Config, values)
    experiment: Experiment = module.build(config)
    which: Any = int(checkpoint) if checkpoint.isdigit() else checkpoint
    return experiment, config, load_variables(run, abstract_state(experiment), which=which)


def load_encoder(config: TrainConfig, data: Data) -> tuple[str, Encoder]:
    """The classifier of a data set, trained on first use and cached.

    Args:
        config: names the data, image shape and classes.
        data: the opened data; the classifier learns from its training part.

    Returns:
        Its name, and the function images -> logits and features.

    Raises:
        UsageError: the data has no classes to tell apart.
    """
    if not data.class_names:
        raise UsageError(f"{data.name} has no classes, so no classifier can judge: evaluate on labelled data")
    module = load_config("classifier_digits")
    settings = module.Config(
        data=config.data,
        data_dir=config.data_dir,
        image_shape=config.image_shape,
        num_classes=len(data.class_names),
        parallel="jit",
        log_every=250,
    )
    experiment: Experiment = module.build(settings)
    # What the classifier learns from, and not only what it is called: a folder may change under its name.
    examples = [data.train[i]["image"].tobytes() for i in range(0, len(data.train), max(len(data.train) // 8, 1))]
    identity = {
        **dataclasses.asdict(settings),
        "where": str(Path(config.data.partition(":")[2]).resolve()) if config.data.startswith("folder:") else "",
        "data": [len(data.train), list(data.class_names), zlib.crc32(b"".join(examples))],
        "net": str(abstract_state(experiment)),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    workdir = _cache_dir() / "classifiers" / f"{re.sub(r'[^a-z0-9]+', '-', data.name.lower())}-{digest}"
    if not _is_complete(workdir, settings.steps):
        print(f"training the classifier of {data.name} once; it is kept in {workdir}", file=sys.stderr)
        resume = "the same command"
        result = run_training(experiment, settings, workdir, data=data, name="classifier_digits", resume_command=resume)
        if result.stopped_by is not None:
            raise KeyboardInterrupt
    variables = load_variables(workdir, abstract_state(experiment))
    return f"{data.name} classifier", make_encode_fn(experiment, variables)


def run_training(
    experiment: Experiment,
    config: TrainConfig,
    workdir: Path,
    *,
    data: Data,
    name: str,
    resume_command: str,
    evaluate_fn: EvaluateFn | None = None,
) -> TrainResult:
    """Train an experiment on opened data, see :func:`aigc_jax.train.loop.train`."""

    def batches_from(start_step: int) -> Iterator[dict[str, np.ndarray]]:
        return batches(
            data.train,
            batch_size=experiment.batch_spec["image"].shape[0],
            seed=config.seed,
            start_step=start_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_threads=config.data_workers,
        )

    return train(
        experiment,
        config,
        workdir,
        batches=batches_from,
        name=name,
        evaluate_fn=evaluate_fn,
        resume_command=resume_command,
    )


def make_evaluate_fn(experiment: Experiment, config: TrainConfig, data: Data) -> EvaluateFn:
    """What is measured during training: samples of a generator, held-out examples of any other model."""
    if experiment.algorithm.sample is None:
        return functools.partial(_held_out_means, experiment, data)
    encoder, encode_fn = load_encoder(config, data)

    def evaluate_samples(variables: Variables, step: int) -> dict[str, float]:
        del step
        report = evaluate(
            sample_fn=make_sample_fn(experiment, variables, config.seed),
            encode_fn=encode_fn,
            data=data,
            num_classes=experiment.num_classes,
            num_samples=1000,
            encoder=encoder,
        )
        return _figures(report)

    return evaluate_samples


def _figures(report: Report) -> dict[str, float]:
    return {f"eval/{row.name}": row.value for row in report.measurements if row.value is not None}


def _held_out_means(experiment: Experiment, data: Data, variables: Variables, step: int) -> dict[str, float]:
    """Means over the held-out examples of all figures that are one number per example."""
    del step
    encode = make_encode_fn(experiment, variables)
    rows = [encode(batch["image"], batch.get("label")) for batch in epoch(data.held_out, 256)]
    names = [name for name, values in rows[0].items() if values.ndim == 1]
    return {f"eval/{name}": float(np.concatenate([row[name] for row in rows]).mean()) for name in names}


def _is_complete(workdir: Path, steps: int) -> bool:
    return (workdir / "checkpoints" / str(steps)).is_dir()


def _cache_dir() -> Path:
    given = os.environ.get("AIGC_JAX_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "aigc_jax"
