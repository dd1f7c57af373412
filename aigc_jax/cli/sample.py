"""The command ``aigc-jax sample``: samples of a run as a picture, an .npz file or a folder of PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from aigc_jax.cli.arguments import Sample
from aigc_jax.cli.attributes import guided, judge_of, names_of_attributes
from aigc_jax.cli.common import (
    condition_number,
    default_out,
    ids_of,
    load,
    named_class,
    names_of,
    read_rows,
    with_prompts,
)
from aigc_jax.cli.kept import filters_of, names_of_guards, write_kept
from aigc_jax.cli.rules import names_of_rule, rule_of, ruled, weights_line, whole_line
from aigc_jax.evaluation.calibrating import distribution
from aigc_jax.evaluation.from_run import LoadedRun
from aigc_jax.inference.constrained import weights_of
from aigc_jax.inference.experts import with_experts
from aigc_jax.inference.sampling import SampleBlocksFn, make_sample_fn
from aigc_jax.progress import Progress
from aigc_jax.runs import load_run, run_module
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Experiment, Modality, UsageError, Variables, WriteFn

BLOCK = 1024


def sample(arguments: Sample) -> int:
    """Draw samples from a run into a picture, a file or a folder."""
    num = arguments.num
    if num < 1:
        raise UsageError(f"expected at least one sample, got {num}: pass --num 1 or more")
    experiment, config, variables = load(arguments)
    own_variables = variables
    prompts, named = _prompts(arguments)
    # Experts are compared by the run's own conditions, which prompts replace.
    experiment, variables, mixed = _with_experts(arguments, experiment, config, variables)
    if prompts:
        experiment = with_prompts(experiment, prompts)
    rule = rule_of(arguments)
    found = None if rule is None else ruled(arguments, rule, experiment, config, variables, prompts)
    experiment = experiment if found is None else found.experiment
    filters = filters_of(arguments, judge_of(arguments, experiment, config), own_variables)
    experiment = guided(arguments, experiment)
    writers, names = experiment.modality.writers, names_of(experiment)
    suffix = _suffix(arguments.out, writers)
    number = condition_number(experiment, arguments.condition)
    # What changes the distribution of candidates, and what is only left out of it.
    changes = {**named, **mixed, **names_of_rule(arguments)}
    named = {**named_class(number, names), **changes, **names_of_attributes(arguments), **names_of_guards(arguments)}
    options = {"seed": arguments.seed, "num": num, **named, **arguments.overrides}
    out = arguments.out or default_out(arguments, "sample", options, suffix)
    ids = ids_of(experiment, number, num)
    draw = make_sample_fn(experiment, variables, arguments.seed)
    if filters is not None:
        build = run_module(arguments.run, arguments.config).build
        loaded = LoadedRun(arguments.run, experiment, config, variables, build, arguments.seed)
        settings = distribution(config, None if number is None else names[number]) | changes
        if arguments.rule_guidance:
            settings["rule_guidance"] = arguments.rule_guidance
        to_write: Any = {"write": writers[suffix], "out": out, "names": names}
        return write_kept(arguments, filters, draw, loaded, number, settings=settings, **to_write)
    drawn = list[np.ndarray]()
    blocks = _blocks(draw, experiment.modality, ids, num)
    if found is not None and found.on_host is not None:
        blocks = drawn = list(blocks)
    writers[suffix](out, blocks, ids, num=num, names=names)
    of = "" if number is None else f" of class {number} ({names[number]})"
    print(f"wrote {num} samples{of} to {out}")
    if found is not None and found.weigh is not None:
        print(weights_line(weights_of(found, variables, arguments.seed, ids)))
    if found is not None and found.on_host is not None:
        print(whole_line(found.on_host, [row for block in drawn for row in block]))
    return 0


def _prompts(arguments: Sample) -> tuple[list[str], dict[str, object]]:
    """The prompts of the command, if any, and how files of their samples are named."""
    if arguments.prompts is not None and arguments.prompt is not None:
        raise UsageError("got --prompt and --prompts: pass one of them")
    if arguments.prompts is not None:
        return [row["prompt"] for row in read_rows(arguments.prompts, "prompt")], {"prompts": arguments.prompts.stem}
    if arguments.prompt is not None:
        return [arguments.prompt], {"prompt": arguments.prompt}
    return [], {}


def _with_experts(
    arguments: Sample, experiment: Experiment, config: TrainConfig, variables: Variables
) -> tuple[Experiment, Variables, dict[str, object]]:
    """The experiment with the sampler of three runs, their variables, and how files of the samples are named."""
    paths = {"expert": arguments.expert, "anti_expert": arguments.anti_expert}
    if not any(paths.values()):
        return experiment, variables, {}
    if not all(paths.values()):
        raise UsageError("expected --expert RUN and --anti-expert RUN together: pass both")
    loaded = {name: load_run(path) for name, path in paths.items() if path is not None}
    tokens = getattr(config, "vocabulary", None)
    for name, (_, settings, _) in loaded.items():
        if getattr(settings, "vocabulary", None) != tokens:
            raise UsageError(
                f"{paths[name]} has other tokens than {arguments.run}: train both with one --tokenizer and text"
            )
    experiment = with_experts(experiment, *(other for other, _, _ in loaded.values()))
    joined = {"base": variables, **{name: own for name, (_, _, own) in loaded.items()}}
    joined["alpha"] = jnp.float32(arguments.alpha)
    named = {name: path.name for name, path in paths.items() if path is not None}
    return experiment, joined, {**named, "alpha": arguments.alpha}


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
