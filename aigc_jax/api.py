"""The Python door: train, load, sample and evaluate runs by name, as the command line does."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aigc_jax.cli.arguments import Train
from aigc_jax.cli.common import condition_number
from aigc_jax.cli.train import train_config
from aigc_jax.inference.sampling import make_sample_fn
from aigc_jax.runs import load_config, replaced, settings_of
from aigc_jax.runs import load_run as read_run
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Algorithm, Experiment, UsageError, Variables

if TYPE_CHECKING:
    from aigc_jax.report.schema import Report


class TrainedRun(NamedTuple):
    """A trained run.

    Attributes:
        path: the run directory.
        experiment: algorithm, data, modality and conditions.
        config: the settings that it was trained with.
        variables: the weights to sample with.
        options: how it was loaded, as options of ``evaluate``: checkpoint, config and data_dir.
    """

    path: Path
    experiment: Experiment
    config: TrainConfig
    variables: Variables
    options: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"TrainedRun({str(self.path)!r}, {type(self.config).__module__.rpartition('.')[2]})"

    @property
    def algorithm(self) -> Algorithm:
        """The pure functions of the method: init, step, sample, evaluate and so on."""
        return self.experiment.algorithm

    def sample(
        self, num: int, *, seed: int = 0, condition: str | int | Sequence[str | int] | None = None
    ) -> np.ndarray:
        """Draw samples; sample i depends on (weights, seed, i, condition) alone.

        Args:
            num: how many, >= 1.
            seed: which sequence of samples, 0 <= seed < 2**32.
            condition: a condition by name or number for all samples, or one for each; None takes them in turn.

        Returns:
            [num, ...] as files hold them: images as uint8 [num, H, W, C], points as float32.

        Raises:
            UsageError: a number is out of range, or the model has no such condition.
        """
        if num < 1:
            raise UsageError(f"expected at least one sample, got {num}: ask for 1 or more")
        ids = self.experiment.condition_ids(0, num)
        if condition is not None:
            given = [condition] * num if isinstance(condition, str | int) else list(condition)
            if len(given) != num:
                raise UsageError(f"expected one condition or {num}, one for each sample; got {len(given)}")
            ids = np.array([condition_number(self.experiment, str(each)) for each in given], np.int32)
        return self.experiment.modality.store(make_sample_fn(self.experiment, self.variables, seed)(0, ids, num))

    def evaluate(self, num_samples: int = 5000, **options: Any) -> Report:
        """Measure the weights that were loaded and write their report, as ``aigc-jax evaluate`` does.

        Args:
            num_samples: number of samples to measure.
            **options: further options of the command by name, such as ``gate`` or ``single_judge``, and settings of the
                run's sampler, such as ``guidance``.

        Returns:
            The report, which is also written to ``path / "report"``.

        Raises:
            UsageError: there is no such option, or a value is out of range.
        """
        from aigc_jax.cli.evaluate import Evaluate, evaluate_run
        from aigc_jax.report.files import read_report

        settings = settings_of(self.config, "sampling")
        own, group = (
            [field.name for field in dataclasses.fields(each)] if each else [] for each in (Evaluate, settings)
        )
        if unknown := [name for name in options if name not in own + group]:
            raise UsageError(f"expected options of {', '.join(own + group)}; got {', '.join(unknown)}")
        overrides = {name: value for name, value in options.items() if name not in own}
        options = {**self.options, **{name: value for name, value in options.items() if name in own}}
        evaluate_run(Evaluate(self.path, num_samples=num_samples, overrides=overrides, **options))
        return read_report(options.get("out") or self.path)


def load_run(
    run: str | Path, *, checkpoint: str = "latest", config_file: str | Path | None = None, data_dir: str | None = None
) -> TrainedRun:
    """Load a trained run.

    Args:
        run: the run directory. No code in it is executed.
        checkpoint: latest, best or a step.
        config_file: the config file, for a run of one that is not shipped.
        data_dir: where prepared tfds data lie now, if they were moved.

    Returns:
        The run.

    Raises:
        UsageError: the run cannot be loaded.

    >>> load_run("no-such-run")
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: ...
    """
    path = Path(run)
    file = None if config_file is None else Path(config_file)
    loaded = read_run(path, checkpoint=checkpoint, config_file=file, data_dir=data_dir)
    return TrainedRun(path, *loaded, {"checkpoint": checkpoint, "config": file, "data_dir": data_dir})


def train(config: str | TrainConfig, *, workdir: str | Path | None = None, **overrides: Any) -> TrainedRun:
    """Train a shipped experiment, or go on with the run that is there, as ``aigc-jax train`` does.

    Args:
        config: the name of a shipped config, the path of a .py file like it, or an instance of a shipped ``Config``.
        workdir: the run directory; None for ``runs/NAME``.
        **overrides: settings by name; those of a group as a dictionary, ``generator={"width": 64}``.

    Returns:
        The trained run.

    Raises:
        UsageError: there is no such config or setting, or a value is out of range.
    """
    name = config if isinstance(config, str) else type(config).__module__.rpartition(".")[2]
    module = load_config(name)
    settings = replaced(module.Config() if isinstance(config, str) else config, overrides)
    folder = Path("runs") / Path(name).stem if workdir is None else Path(workdir)
    train_config(module, name, Train(config=settings, workdir=folder), shlex.join(["aigc-jax", "train", name]))
    return load_run(folder, config_file=name if name.endswith(".py") else None)
