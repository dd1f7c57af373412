"""The command ``aigc-jax sample``: samples of a run as a picture, an .npz file or a folder of PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from aigc_jax.cli.arguments import Sample
from aigc_jax.cli.common import condition_number, default_out, ids_of, load, named_class, names_of, with_prompts
from aigc_jax.inference.sampling import SampleBlocksFn, make_sample_fn
from aigc_jax.progress import Progress
from aigc_jax.types import Modality, UsageError, WriteFn

BLOCK = 1024


def sample(arguments: Sample) -> int:
    """Draw samples from a run into a picture, a file or a folder."""
    num = arguments.num
    if num < 1:
        raise UsageError(f"expected at least one sample, got {num}: pass --num 1 or more")
    experiment, _, variables = load(arguments)
    if arguments.prompt is not None:
        experiment = with_prompts(experiment, [arguments.prompt])
    writers, names = experiment.modality.writers, names_of(experiment)
    suffix = _suffix(arguments.out, writers)
    number = condition_number(experiment, arguments.condition)
    prompt = {} if arguments.prompt is None else {"prompt": arguments.prompt}
    options = {"seed": arguments.seed, "num": num, **named_class(number, names), **prompt, **arguments.overrides}
    out = arguments.out or default_out(arguments, "sample", options, suffix)
    ids = ids_of(experiment, number, num)
    draw = make_sample_fn(experiment, variables, arguments.seed)
    writers[suffix](out, _blocks(draw, experiment.modality, ids, num), ids, num=num, names=names)
    of = "" if number is None else f" of class {number} ({names[number]})"
    print(f"wrote {num} samples{of} to {out}")
    return 0


def _suffix(out: Path | None, writers: Mapping[str, WriteFn]) -> str:
    """The writer that a file name asks for: by its suffix, or a folder."""
    if out is None:
        return next(iter(writers))
    suffix = "" if out.is_dir() else out.suffix
    if suffix not in writers:
        files = ", ".join(suffix for suffix in writers if suffix)
        folder = ", or a folder" if "" in writers else ""
        raise UsageError(f"expected an --out that ends in one of {files}{folder}; got {out}: pass --out samples.npz")
    return suffix


def _blocks(draw: SampleBlocksFn, modality: Modality, ids: np.ndarray | None, num: int) -> Iterator[np.ndarray]:
    """Samples as they are drawn: a hundred thousand of them need not be in memory at once."""
    with Progress(num, "samples", "sample") as bar:
        for first in range(0, num, BLOCK):
            size = min(BLOCK, num - first)
            yield modality.store(draw(first, None if ids is None else ids[first : first + size], size))
            bar.update(size)
