"""Arguments and helpers that several commands share."""

from __future__ import annotations

import dataclasses
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from aigc_jax.data.export import file_name
from aigc_jax.data.images import make_grid, to_uint8
from aigc_jax.data.points import scatter
from aigc_jax.runs import load_run
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.data_record import class_names
from aigc_jax.train.run_dir import checkpoint_steps
from aigc_jax.types import Experiment, UsageError, Variables

Run = Annotated[Path, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained run: what every command on one takes."""

    run: Run
    """The run directory."""
    checkpoint: str = "latest"
    """Which weights: latest, best or a step."""
    config: Path | None = None
    """The config file, for a run that was trained with one that is not shipped."""
    data: str | None = None
    """The data now, for example folder:DIR, if they are no longer where they were at training."""
    data_dir: str | None = None
    """Where prepared tfds data lies now, if no longer where it was at training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """How samples are drawn, for models that leave a choice; None for what the run was trained with."""

    sampler: str | None = None
    """The solver, for example ddim; --help of aigc-jax train CONFIG names them."""
    num_steps: int | None = None
    """Number of steps of the sampler."""
    guidance: float | None = None
    """Classifier-free guidance weight; 1 is the conditional model itself."""
    guidance_rescale: float | None = None
    """Share in [0, 1] by which guided predictions get the contrast of unguided ones back."""
    guidance_interval: tuple[float, float] | None = None
    """Noise levels sigma / alpha, low and high, between which there is guidance."""

    def overrides(self) -> dict[str, object]:
        """What was given, by the name of the setting."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Sampler)}
        return {name: value for name, value in values.items() if value is not None}


def default_out(arguments: Trained, command: str, options: Mapping[str, object]) -> Path:
    """A picture in the run's samples folder, with a name of its own for each way to draw it: they lie side by side."""
    steps = checkpoint_steps(arguments.run)
    checkpoint = str(steps[-1]) if arguments.checkpoint == "latest" and steps else arguments.checkpoint
    texts = {name: "-".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in options.items()}
    how = "".join(f"_{name}{file_name(text)}" for name, text in texts.items())
    return arguments.run / "samples" / f"{command}_step{checkpoint}{how}.png"


def named_class(condition: int | None, names: Sequence[str]) -> dict[str, str]:
    """A class as an option of :func:`default_out`."""
    return {} if condition is None else {"class": f"{condition}-{names[condition]}"}


def load(arguments: Trained, overrides: Mapping[str, Mapping[str, Any]]) -> tuple[Experiment, TrainConfig, Variables]:
    """The experiment, settings and weights of the run that a command names."""
    return load_run(
        arguments.run,
        checkpoint=arguments.checkpoint,
        config_file=arguments.config,
        data=arguments.data,
        data_dir=arguments.data_dir,
        overrides=overrides,
    )


def condition_number(run: Path, num_classes: int | None, condition: str | None) -> int | None:
    """The number of a class that is given by its name or its number.

    Names come first: of folders 1, 2 and 10, the class "10" has the number 2, and there is no class 0.
    """
    if condition is None:
        return None
    if num_classes is None:
        raise UsageError(f"got --condition {condition}, but this model is unconditional: leave the option out")
    names = class_names(run, num_classes)
    if condition in names:
        return names.index(condition)
    is_number = re.fullmatch("[0-9]{1,9}", condition) is not None and not all(name.isdigit() for name in names)
    if is_number and int(condition) < num_classes:
        return int(condition)
    close = difflib.get_close_matches(condition, names, 1) or names[:1]
    shown = ", ".join(names[:20]) + (" ..." if num_classes > 20 else "")
    raise UsageError(
        f"expected a class for --condition, one of {shown}; got {condition!r}: pass --condition {shlex.quote(close[0])}"
    )


def conditions_of(num_classes: int | None, condition: int | None, num: int) -> np.ndarray | None:
    """One class for all samples, or the classes in turn: sample i's does not depend on how many are drawn."""
    if num_classes is None:
        return None
    return np.arange(num, dtype=np.int32) % num_classes if condition is None else np.full(num, condition, np.int32)


def picture_of(
    experiment: Experiment, samples: np.ndarray, labels: np.ndarray | None, names: Sequence[str] = ()
) -> np.ndarray | None:
    """Images in a grid, its rows called by their class, points of the plane where they are, None of anything else."""
    if experiment.example_name == "image":
        return _grid(to_uint8(samples), labels, names)
    return scatter(samples, labels) if samples.shape[1:] == (2,) else None


def _grid(images: np.ndarray, labels: np.ndarray | None, names: Sequence[str]) -> np.ndarray:
    """A row per class where the classes are equally many, else rows of ten."""
    if labels is None or len(set(labels.tolist())) < 2 or len(labels) % len(set(labels.tolist())):
        return make_grid(images, min(10, len(images)))
    classes = sorted(set(labels.tolist()))
    order = np.argsort(labels, kind="stable")
    row_labels = [names[int(label)] if names else str(label) for label in classes]
    return make_grid(images[order], len(labels) // len(classes), row_labels=row_labels)
