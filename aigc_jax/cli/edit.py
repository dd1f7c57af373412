"""The command ``aigc-jax edit``: in-painting and image-to-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aigc_jax.cli.arguments import Edit
from aigc_jax.cli.common import condition_number, default_out, ids_of, load, named_class, names_of
from aigc_jax.data.decoding import opened_image, shown_pixels
from aigc_jax.data.files import unreadable, visible
from aigc_jax.data.images import make_grid, write_png
from aigc_jax.data.pipeline import load as load_batch
from aigc_jax.inference.sampling import check_seed, make_edit_fn
from aigc_jax.types import UsageError


def edit(arguments: Edit) -> int:
    """Change held-out images, and draw them above the results."""
    num = arguments.num
    if num < 1 or not 0 < arguments.strength <= 1:
        raise UsageError(
            f"expected --num 1 or more and --strength in (0, 1], got {num} and {arguments.strength}: use 10 and 0.5"
        )
    if arguments.out is not None and arguments.out.suffix != ".png":
        raise UsageError(f"expected an --out that ends in .png, got {arguments.out}: pass --out edit.png")
    check_seed(arguments.seed)
    if arguments.mask is not None and arguments.keep != "nothing":
        raise UsageError(f"expected --mask or --keep, got both: leave --keep {arguments.keep} out")
    experiment, _, variables = load(arguments)
    shape = experiment.example_shape
    keep = arguments.keep if arguments.mask is None else read_exact(arguments.mask, (*shape[:2], 1))[..., 0] < 128
    edit_fn = make_edit_fn(experiment, variables, keep=keep, strength=arguments.strength)
    number = condition_number(experiment, arguments.condition)
    condition = ids_of(experiment, number, num)
    if arguments.image is None:
        held_out = experiment.open_data().held_out
        batch = load_batch(held_out, np.linspace(0, len(held_out) - 1, num).astype(np.int64), experiment.modality)
        image = batch["example"]
        if number is None and condition is not None:
            condition = batch["condition"]
    else:
        image = np.repeat(experiment.modality.load(read_exact(arguments.image, shape)[None]), num, axis=0)
    rows = [image, *(edit_fn(image, condition, 3 * arguments.seed, row) for row in range(3))]
    options = {name: getattr(arguments, name) for name in ("keep", "strength", "seed", "num")}
    files = dict(image=arguments.image, mask=arguments.mask)
    options |= {name: file.stem for name, file in files.items() if file is not None}
    options |= {**named_class(number, names_of(experiment)), **arguments.overrides}
    out = arguments.out or default_out(arguments, "edit", options)
    write_png(out, make_grid(experiment.modality.store(np.concatenate(rows)), num, row_labels=["given", *["made"] * 3]))
    print(f"wrote {num} images and three results of each to {out}")
    return 0


def read_exact(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An image file whose size is that of the model's images, as uint8 [H, W, C]: nothing is cropped or resized."""
    advice = f"name a PNG or JPEG file of {shape[1]} x {shape[0]} pixels"
    try:
        with opened_image(path) as image:
            shown = shown_pixels(image, shape[-1])
    except Exception as error:  # Pillow and zlib have a dozen for damaged files
        raise unreadable(path, error, advice) from error
    if shown.size != (shape[1], shape[0]):
        raise UsageError(f"{visible(str(path))} has {shown.size[0]} x {shown.size[1]} pixels: {advice}")
    return np.asarray(shown).reshape(shape)
