"""The command ``aigc-jax sample``: samples of a run as a picture, an .npz file or a folder of PNG files."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aigc_jax.cli.common import (
    Sampler,
    Trained,
    condition_number,
    conditions_of,
    default_out,
    load,
    named_class,
    picture_of,
)
from aigc_jax.data.export import write_npz, write_png_folder
from aigc_jax.data.images import to_uint8, write_png
from aigc_jax.inference.sampling import SampleBlocksFn, make_sample_fn
from aigc_jax.progress import Progress
from aigc_jax.train.data_record import class_names
from aigc_jax.types import UsageError

MAX_IN_GRID = 1000
"""Images of one picture at most."""

BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class Sample(Sampler, Trained):
    """Draw samples from a trained run. Sample i depends on (checkpoint, seed, i, condition) alone."""

    num: int = 64
    """Number of samples."""
    condition: str | None = None
    """Class of all samples, by name or number; None takes the classes in turn."""
    seed: int = 0
    """Which sequence of samples."""
    out: Path | None = None
    """A .png grid, an .npz file or a folder of PNG files; None for a grid in the run's samples folder."""


def sample(arguments: Sample) -> int:
    """Draw samples from a run into a grid, an .npz file or a folder of PNG files."""
    num = arguments.num
    if num < 1:
        raise UsageError(f"expected at least one sample, got {num}: pass --num 1 or more")
    is_folder = arguments.out is not None and (not arguments.out.suffix or arguments.out.is_dir())
    if arguments.out is not None and arguments.out.suffix not in (".png", ".npz") and not is_folder:
        raise UsageError(f"expected an --out that ends in .png or .npz, or a folder, got {arguments.out}")
    experiment, _, variables = load(arguments, {"sampling": arguments.overrides()})
    condition = condition_number(arguments.run, experiment.num_classes, arguments.condition)
    names = [] if experiment.num_classes is None else class_names(arguments.run, experiment.num_classes)
    options = {"seed": arguments.seed, "num": num, **named_class(condition, names), **arguments.overrides()}
    out = arguments.out or default_out(arguments, "sample", options)
    labels = conditions_of(experiment.num_classes, condition, num)
    draw = make_sample_fn(experiment, variables, arguments.seed)
    is_image = experiment.example_name == "image"
    if out.suffix == ".png" and not is_folder:
        if is_image and num > MAX_IN_GRID:
            raise UsageError(
                f"a picture holds {MAX_IN_GRID} samples at most, got --num {num}: pass --out samples.npz, or "
                "--out samples for a folder of PNG files"
            )
        picture = picture_of(experiment, draw(0, labels, num), labels, names)
        if picture is None:
            shape = experiment.batch_spec[experiment.example_name].shape[1:]
            raise UsageError(f"there is no picture of samples of shape {shape}: pass --out samples.npz")
        write_png(out, picture)
    elif is_folder and not is_image:
        raise UsageError(
            f"a folder of PNG files holds images, this run makes samples called "
            f"{experiment.example_name}: pass --out samples.npz"
        )
    else:
        write = write_png_folder if is_folder else functools.partial(write_npz, name=experiment.example_name)
        write(out, _blocks(draw, labels, num, is_image=is_image), labels, num=num, class_names=names)
    of = "" if condition is None else f" of class {condition} ({names[condition]})"
    print(f"wrote {num} samples{of} to {out}")
    return 0


def _blocks(draw: SampleBlocksFn, labels: np.ndarray | None, num: int, *, is_image: bool) -> Iterator[np.ndarray]:
    """Samples as they are drawn: a hundred thousand of them need not be in memory at once."""
    with Progress(num, "samples", "sample") as bar:
        for first in range(0, num, BLOCK):
            size = min(BLOCK, num - first)
            samples = draw(first, None if labels is None else labels[first : first + size], size)
            yield to_uint8(samples) if is_image else samples
            bar.update(size)
