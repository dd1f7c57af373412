"""The command ``aigc-jax edit``: in-painting and image-to-image of held-out images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from aigc_jax.cli.common import Adjusted, condition_number, default_out, ids_of, load, named_class, names_of
from aigc_jax.data.images import make_grid, write_png
from aigc_jax.data.pipeline import load as load_batch
from aigc_jax.inference.sampling import check_seed, make_edit_fn
from aigc_jax.types import UsageError


@dataclasses.dataclass(frozen=True)
class Edit(Adjusted):
    """Change held-out images: make up the part that is not kept, or all of each, as much as --strength says."""

    num: int = 10
    """Number of images."""
    keep: Literal["nothing", "left", "right", "top", "bottom"] = "nothing"
    """The half of each image that stays: in-painting. nothing: image-to-image."""
    strength: float = 1.0
    """Share of the noise that each image gets, in (0, 1]; 0.5 keeps a resemblance."""
    condition: str | None = None
    """Class of all results, by name or number; None keeps each image's own."""
    seed: int = 0
    """Which noise."""
    out: Path | None = None
    """A .png with a row of originals and rows of results; None for one in the run's samples folder."""


def edit(arguments: Edit) -> int:
    """Change held-out images, and draw them above the results."""
    num = arguments.num
    if num < 1 or not 0 < arguments.strength <= 1:
        raise UsageError(f"expected --num 1 or more and --strength in (0, 1], got {num} and {arguments.strength}")
    if arguments.out is not None and arguments.out.suffix != ".png":
        raise UsageError(f"expected an --out that ends in .png, got {arguments.out}")
    check_seed(arguments.seed)
    experiment, _, variables = load(arguments)
    edit_fn = make_edit_fn(experiment, variables, keep=arguments.keep, strength=arguments.strength)
    held_out = experiment.open_data().held_out
    batch = load_batch(held_out, np.linspace(0, len(held_out) - 1, num).astype(np.int64), experiment.modality)
    number = condition_number(experiment, arguments.condition)
    image, condition = batch["example"], ids_of(experiment, number, num)
    if number is None and condition is not None:
        condition = batch["condition"]
    rows = [image, *(edit_fn(image, condition, 3 * arguments.seed, row) for row in range(3))]
    options = {name: getattr(arguments, name) for name in ("keep", "strength", "seed", "num")}
    options |= {**named_class(number, names_of(experiment)), **arguments.overrides}
    out = arguments.out or default_out(arguments, "edit", options)
    write_png(out, make_grid(experiment.modality.store(np.concatenate(rows)), num, row_labels=["given", *["made"] * 3]))
    print(f"wrote {num} images and three results of each to {out}")
    return 0
