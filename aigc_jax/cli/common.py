"""Arguments and helpers that several commands share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from aigc_jax.data.images import make_grid, to_uint8
from aigc_jax.data.points import scatter
from aigc_jax.runs import load_run
from aigc_jax.train.config import TrainConfig
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


def format_for_file_name(value: object) -> str:
    """A setting as part of a file name: 0.3-5.0 for a pair."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


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


def conditions_of(num_classes: int | None, condition: int | None, num: int) -> np.ndarray | None:
    """One class for all samples, or the classes in turn: sample i's does not depend on how many are drawn."""
    if num_classes is None:
        if condition is not None:
            raise UsageError(f"got --condition {condition}, but this model is unconditional: leave the option out")
        return None
    if condition is None:
        return (np.arange(num) % num_classes).astype(np.int32)
    if not 0 <= condition < num_classes:
        raise UsageError(f"expected a condition from 0 to {num_classes - 1}, got {condition}: pass --condition 0")
    return np.full(num, condition, np.int32)


def picture_of(experiment: Experiment, samples: np.ndarray, labels: np.ndarray | None) -> np.ndarray | None:
    """Images in a grid, points of the plane where they are, and None of anything else."""
    if experiment.example_name == "image":
        return _grid(to_uint8(samples), labels)
    return scatter(samples, labels) if samples.shape[1:] == (2,) else None


def _grid(images: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """A row per class where the classes are equally many, else rows of ten."""
    if labels is None or len(set(labels.tolist())) < 2 or len(labels) % len(set(labels.tolist())):
        return make_grid(images, min(10, len(images)))
    classes = sorted(set(labels.tolist()))
    order = np.argsort(labels, kind="stable")
    return make_grid(images[order], len(labels) // len(classes), row_labels=[str(label) for label in classes])
