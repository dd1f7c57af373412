"""From a run to what a report looks at: its samples, drawn again, drawn otherwise, moved, scored and traced.

The layer between the command line and the library, beside :mod:`aigc_jax.evaluation.classifiers`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.evaluation.model import EvaluatedModel, NamedDetector, PairedVariant, Replication, Variant
from aigc_jax.evaluation.recommendations import IDEAL
from aigc_jax.inference.diagnostics import make_exact_sample_fn, make_score_fn, make_trajectory_fn
from aigc_jax.inference.latents import make_reconstruct_fn
from aigc_jax.inference.perturbation import (
    TransformedSampler,
    compile_transformed_sampler,
    make_change_fn,
    perturb,
    truncate,
)
from aigc_jax.inference.sampling import CompiledSampler, SampleBlocksFn, compile_sampler, make_sample_fn
from aigc_jax.runs import SAMPLER_FLAGS, load_run, override, run_module
from aigc_jax.samplers.settings import Sampling, num_evaluations
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.run_dir import checkpoint_steps
from aigc_jax.types import Experiment, UsageError, Variables

ROUNDING = 1e-3
"""Largest difference between two compilations of the same samples, of values in [-1, 1], that rounding explains."""

LARGE_DIFFERENCE = 0.1
"""A difference of values in [-1, 1] that rounding explains in few samples at most."""

MAX_SECONDS = 10.0
"""Seconds to draw the repeated samples in, above which they are not drawn once more in another process."""

SAMPLERS = ("ddim", "dpm_solver", "ancestral")
NUM_STEPS = (5, 10, 20, 50)
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 5.0)
TRUNCATION = (0.25, 0.5, 1.0, 2.0, 4.0)
PERTURBED_VARIANCE = 0.01
"""Share of a latent's variance that is made anew, to see how far a sample moves."""


class LoadedRun(NamedTuple):
    """A trained run, in memory.

    Attributes:
        run: its directory.
        experiment: what was trained.
        config: its settings, with those of the command line.
        variables: its weights.
        build: makes an experiment of other settings.
        seed: of the samples.
        checkpoint: which of them: latest, best or a step.
        options: what else the command line needs to load it: the config file, where the data lies.
    """

    run: Path
    experiment: Experiment
    config: TrainConfig
    variables: Variables
    build: Callable[[Any], Experiment]
    seed: int = 0
    checkpoint: str = "latest"
    options: Sequence[str] = ()


def load_subject(
    run: Path,
    *,
    checkpoint: str = "latest",
    config_file: Path | None = None,
    data: str | None = None,
    data_dir: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> LoadedRun:
    """Load a run, see :func:`aigc_jax.runs.load_run`.

    Returns:
        The run.
    """
    experiment, config, variables = load_run(
        run, checkpoint=checkpoint, config_file=config_file, data=data, data_dir=data_dir, overrides=overrides
    )
    options = [
        *(("--config", str(config_file)) if config_file else ()),
        *(("--data", data) if data else ()),
        *(("--data-dir", data_dir) if data_dir else ()),
    ]
    build = run_module(run, config_file).build
    return LoadedRun(run, experiment, config, variables, build, seed, checkpoint, options)


def evaluated_model(
    loaded: LoadedRun, *, partner: LoadedRun | None = None, denoiser: LoadedRun | None = None
) -> EvaluatedModel:
    """Everything that the report can ask of a run.

    Args:
        loaded: the run.
        partner: another run whose samples share the noise of this one's.
        denoiser: another run whose detectors score this one's samples, next to its own.

    Returns:
        The subject.

    Raises:
        UsageError: the run draws no samples, or another run's examples have another shape.
    """
    experiment, left_out = loaded.experiment, dict[str, str]()
    has_both_ways = experiment.algorithm.autoencoder is not None
    sampler = compile_sampler(experiment)
    sample_fn = sampler(loaded.variables, loaded.seed)
    transformed = None
    if experiment.algorithm.latents is not None:
        transformed = compile_transformed_sampler(experiment, loaded.variables, loaded.seed)
    for other in (partner, denoiser):
        if other is not None:
            _check_shape(loaded, other)
    denoising = experiment.algorithm.denoising
    has_trajectories = denoising is not None and denoising.num_steps > 1
    if not has_trajectories:
        left_out["trajectory_variance"] = "the model draws its samples in one go, or its sampler lets nobody look on"
    return EvaluatedModel(
        sample_fn=sample_fn,
        num_classes=experiment.num_conditions,
        modality=experiment.modality,
        withheld=() if experiment.world is None else experiment.world.withheld,
        replications=list(_repeats(loaded, sample_fn)),
        paired_variants=list(_paired_variants(loaded, sampler, transformed, partner, left_out)),
        detectors=_detectors(loaded, denoiser),
        trace_fn=make_trajectory_fn(experiment, loaded.variables, loaded.seed) if has_trajectories else None,
        latent_changes=None
        if experiment.algorithm.latents is None
        else make_change_fn(experiment, loaded.variables, loaded.seed),
        variants=[
            *_sampler_variants(loaded, left_out),
            *_guidance_variants(loaded),
            *_truncations(loaded, transformed),
        ],
        reconstruct=make_reconstruct_fn(experiment, loaded.variables) if has_both_ways else None,
        guidance=_guidance(loaded),
        takes_rescaling=hasattr(getattr(loaded.config, "sampling", None), "guidance_rescale"),
        left_out=left_out,
    )


def _check_shape(loaded: LoadedRun, other: LoadedRun) -> None:
    own, others = (each.experiment.example_shape for each in (loaded, other))
    if own != others:
        raise UsageError(f"{other.run} makes examples of shape {others}, {loaded.run} of {own}: name a run of the same")
    classes = [each.experiment.num_conditions for each in (loaded, other)]
    if classes[0] != classes[1]:
        raise UsageError(
            f"{other.run} has {classes[1]} classes, {loaded.run} {classes[0]}: name a run of the same data"
        )


def _repeats(loaded: LoadedRun, sample_fn: SampleBlocksFn) -> Iterator[Replication]:
    """The same samples, computed otherwise."""
    yield Replication("once more", sample_fn)
    small = make_sample_fn(loaded.experiment, loaded.variables, loaded.seed, block_size=16)
    yield Replication("in batches of 16", small, ROUNDING, is_judged=False, gross=LARGE_DIFFERENCE)
    # An accelerator belongs to one process, and tunes its programs anew in each.
    is_here = (loaded.run / "config.json").is_file() and jax.default_backend() == "cpu"
    if is_here and loaded.experiment.modality.num_levels is not None:
        yield Replication(
            "in another process, to 8 bits",
            lambda *given: sample_in_subprocess(loaded, *given),
            is_eight_bit=True,
            max_seconds=MAX_SECONDS,
        )


def sample_in_subprocess(loaded: LoadedRun, start: int, condition: np.ndarray | None, num: int) -> np.ndarray:
    """The first samples, as the command line draws them in a process of its own."""
    del condition  # the command draws the classes in turn, as the report does
    sampling = getattr(loaded.config, "sampling", None)
    words = ["sample", str(loaded.run), "--num", str(start + num)]
    words += ["--seed", str(loaded.seed), "--checkpoint", loaded.checkpoint, *loaded.options]
    for name in SAMPLER_FLAGS:
        value = getattr(sampling, name, None)
        if value is not None:
            words += ["--" + name.replace("_", "-"), *map(str, value if isinstance(value, tuple) else [value])]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.npz"
        program = [sys.executable, "-c", "from aigc_jax.cli import main; raise SystemExit(main())"]
        result = subprocess.run([*program, *words, "--out", str(out)], capture_output=True, text=True)
        if result.returncode:
            raise UsageError(f"{' '.join(words)} failed: {result.stderr.strip().rpartition(chr(10))[2]}")
        with np.load(out) as saved:
            modality = loaded.experiment.modality
            return modality.load(saved[modality.name])[start:]


def _paired_variants(
    loaded: LoadedRun,
    sampler: CompiledSampler,
    transformed: TransformedSampler | None,
    partner: LoadedRun | None,
    left_out: dict[str, str],
) -> Iterator[PairedVariant]:
    seed = loaded.seed
    if partner is None:
        left_out["model_consistency"] = "name another model of the same data: --partner RUN"
    else:
        other = make_sample_fn(partner.experiment, partner.variables, seed)
        yield PairedVariant("model_consistency", f"model {partner.run.name}", other)
    yield from earlier_checkpoint(loaded, sampler, left_out)
    if transformed is None:
        reason = "the model starts from no one latent that could be moved"
        left_out |= dict.fromkeys(("perturbation", "latent_sensitivity"), reason)
    else:
        moved = transformed(perturb, PERTURBED_VARIANCE)
        yield PairedVariant("perturbation", f"{PERTURBED_VARIANCE:.0%} of the latent's variance fresh", moved)
    num_steps = getattr(getattr(loaded.config, "sampling", None), "num_steps", None)
    if num_steps is not None:
        twice = with_sampling(loaded, {"num_steps": 2 * num_steps})
        yield PairedVariant("step_consistency", f"{2 * num_steps} steps for {num_steps}", twice)
    else:
        left_out["step_consistency"] = "the model takes one step"
    half = sampler(jax.tree.map(_to_bfloat16, loaded.variables), seed)
    yield PairedVariant("half_precision", "weights rounded to bfloat16", half)


def earlier_checkpoint(
    loaded: LoadedRun, sampler: CompiledSampler, left_out: dict[str, str]
) -> Iterator[PairedVariant]:
    """The checkpoint nearest to half of the training, if one was kept."""
    steps = checkpoint_steps(loaded.run)
    last = int(loaded.checkpoint) if loaded.checkpoint.isdigit() else max(steps, default=0)
    earlier_steps = [step for step in steps if step < last]
    if not earlier_steps or loaded.checkpoint == "best":
        left_out["checkpoint_consistency"] = "no earlier checkpoint is known: train with --keep-checkpoints 2 or more"
        return
    step = min(earlier_steps, key=lambda step: abs(2 * step - last))
    variables = load_variables(loaded.run, abstract_state(loaded.experiment), which=step)
    yield PairedVariant("checkpoint_consistency", f"checkpoint of step {step}", sampler(variables, loaded.seed))


def _to_bfloat16(leaf: Any) -> Any:
    """A weight as bfloat16 holds it."""
    return leaf.astype(jnp.bfloat16).astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _detectors(loaded: LoadedRun, denoiser: LoadedRun | None) -> list[NamedDetector]:
    """The run's own detectors, and those of another run."""
    found = []
    for owner in (loaded, denoiser):
        if owner is None:
            continue
        takes_condition = owner.experiment.conditions is not None
        for name, detector in owner.experiment.algorithm.detectors.items():
            score_fn = make_score_fn(detector, owner.variables, loaded.seed, takes_condition=takes_condition)
            title = name if owner is loaded else f"{name} of {owner.run.name}"
            found.append(NamedDetector(title, score_fn, detector.is_typical_best))
    return found


def with_sampling(loaded: LoadedRun, settings: Mapping[str, Any]) -> Any:
    """The run's samples under other settings of its sampler."""
    config = override(loaded.config, "sampling", settings)
    return make_sample_fn(loaded.build(config), loaded.variables, loaded.seed)


def _sampler_variants(loaded: LoadedRun, left_out: dict[str, str]) -> Iterator[Variant]:
    sampling = getattr(loaded.config, "sampling", None)
    if not hasattr(sampling, "num_steps"):
        left_out["sampler_sweep"] = "the model has no sampler with steps"
        return
    if not isinstance(sampling, Sampling) or sampling.sampler == "multistep":
        name = getattr(sampling, "sampler", "token sampler")
        for num_steps in (1, 2, 4, 8) if name == "multistep" else NUM_STEPS:
            yield Variant("sampler", str(name), num_steps, with_sampling(loaded, {"num_steps": num_steps}))
        return
    for name in dict.fromkeys((sampling.sampler, *SAMPLERS)):
        for num_steps in NUM_STEPS:
            config = override(loaded.config, "sampling", {"sampler": name, "num_steps": num_steps})
            cost = num_evaluations(config.sampling).num_network  # pyright: ignore[reportAttributeAccessIssue]
            settings = {"sampler": name, "num_steps": num_steps}
            yield Variant("sampler", name, cost, with_sampling(loaded, settings))
            # Under guidance even the exact denoiser leaves the data's law: it is then no floor.
            exact = (
                make_exact_sample_fn(loaded.build(config), loaded.variables, loaded.seed)
                if sampling.guidance == 1
                else None
            )
            if exact is not None:
                yield Variant("sampler", f"{name}{IDEAL}", cost, exact, is_ideal=True)


def _guidance(loaded: LoadedRun) -> float | None:
    """The weight that the run's samples are drawn with; None where there is no guidance."""
    sampling = getattr(loaded.config, "sampling", None)
    is_guided = hasattr(sampling, "guidance") and loaded.experiment.conditions is not None
    return (
        getattr(sampling, "guidance", None) if is_guided and getattr(sampling, "sampler", "") != "multistep" else None
    )


def _guidance_variants(loaded: LoadedRun) -> Iterator[Variant]:
    own = _guidance(loaded)
    if own is not None:
        for weight in sorted({*GUIDANCE, own}):
            yield Variant("guidance", "", weight, with_sampling(loaded, {"guidance": weight}))


def _truncations(loaded: LoadedRun, transformed: TransformedSampler | None) -> Iterator[Variant]:
    """Latents cut short, of models that are one step from them."""
    if transformed is not None and not hasattr(loaded.config, "sampling"):
        for limit in TRUNCATION:
            yield Variant("truncation", "", limit, transformed(truncate, limit))
