"""The command ``aigc-jax sample``: samples of a run as a picture or an .npz file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from aigc_jax.cli.common import Sampler, Trained, conditions_of, format_for_file_name, load, picture_of
from aigc_jax.data.images import to_uint8, write_npz, write_png
from aigc_jax.inference.sampling import make_sample_fn
from aigc_jax.types import UsageError


@dataclasses.dataclass(frozen=True)
class Sample(Sampler, Trained):
    """Draw samples from a trained run. Sample i depends on (checkpoint, seed, i, condition) alone."""

    num: int = 64
    """Number of samples."""
    condition: int | None = None
    """Class of all samples; None takes the classes in turn."""
    seed: int = 0
    """Which sequence of samples."""
    out: Path | None = None
    """A .png grid or an .npz file; None for a grid in the run's samples folder."""


def sample(arguments: Sample) -> int:
    """Draw samples from a run into a grid or an .npz file."""
    num, seed = arguments.num, arguments.seed
    if num < 1:
        raise UsageError(f"expected at least one sample, got {num}: pass --num 1 or more")
    experiment, _, variables = load(arguments, {"sampling": arguments.overrides()})
    # Samples drawn in another way have another name: they can lie side by side.
    how = "".join(f"_{name}{format_for_file_name(value)}" for name, value in arguments.overrides().items())
    out = arguments.out or arguments.run / "samples" / f"sample_seed{seed}_num{num}{how}.png"
    if out.suffix not in (".png", ".npz"):
        raise UsageError(f"expected an --out that ends in .png or .npz, got {out}")
    labels = conditions_of(experiment.num_classes, arguments.condition, num)
    samples = make_sample_fn(experiment, variables, seed)(0, labels, num)
    if out.suffix == ".npz":
        is_image = experiment.example_name == "image"
        write_npz(out, to_uint8(samples) if is_image else samples, labels, name=experiment.example_name)
    else:
        picture = picture_of(experiment, samples, labels)
        if picture is None:
            raise UsageError(f"there is no picture of samples of shape {samples.shape[1:]}: pass --out samples.npz")
        write_png(out, picture)
    print(f"wrote {num} samples to {out}")
    return 0
