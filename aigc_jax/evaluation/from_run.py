"""The evaluated model of a trained run: its samples, replications, variants, detectors and sweeps."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.evaluation.model import EvaluatedModel, NamedDetector, PairedVariant, Replication, Sweep, Variant
from aigc_jax.evaluation.recommendations import EXACT
from aigc_jax.inference.diagnostics import make_exact_sample_fn, make_score_fn, make_token_nll_fn, make_trajectory_fn
from aigc_jax.inference.latents import make_reconstruct_fn
from aigc_jax.inference.perturbation import (
    TransformedSampler,
    compile_transformed_sampler,
    make_change_fn,
    perturb,
    truncate,
)
from aigc_jax.inference.sampling import (
    CompiledSampler,
    SampleBlocksFn,
    compile_sampler,
    compile_sampler_family,
    make_sample_fn,
)
from aigc_jax.runs import load_run, option_words, replaced, run_module
from aigc_jax.samplers.settings import Sampling, num_evaluations
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import abstract_state
from aigc_jax.train.run_dir import checkpoint_steps
from aigc_jax.types import Experiment, UsageError, Variables

ROUNDING_TOLERANCE = 1e-3
"""Largest difference between two compilations of the same samples, of values in [-1, 1], that rounding explains."""

LARGE_DIFFERENCE = 0.1
"""A difference of values in [-1, 1] that rounding explains in few samples at most."""

MAX_SECONDS = 10.0
"""Seconds to draw the repeated samples in, above which they are not drawn once more in another process."""

SAMPLERS = ("ddim", "dpm_solver", "ancestral")
NUM_STEPS = (5, 10, 20, 50)
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 5.0)
TRUNCATION = (0.25, 0.5, 1.0, 2.0, 4.0)
DECODING = {"temperature": (0.4, 0.6, 0.8, 1.0, 1.2), "top_p": (0.6, 0.8, 0.9, 0.95, 1.0)}
PERTURBED_VARIANCE = 0.01
"""Share of a latent's variance that is replaced by fresh noise, to see how far a sample moves."""

NO_LATENT = "the model does not start from a single latent"


class LoadedRun(NamedTuple):
    """A trained run, in memory."""

    run: Path
    experiment: Experiment
    config: TrainConfig
    """Its settings, with those of the command line."""
    variables: Variables
    build: Callable[[Any], Experiment]
    """Makes an experiment of other settings."""
    seed: int = 0
    """Of the samples."""
    checkpoint: str = "latest"
    """Latest, best or a step."""
    options: Sequence[str] = ()
    """Options of the command line that loading it needs: the config file, where the data lie, changed settings."""

    @property
    def sampling(self) -> Any:
        """The settings of its sampler; None where there are none."""
        return getattr(self.config, "sampling", None)


def load_for_evaluation(
    run: Path,
    *,
    checkpoint: str = "latest",
    config_file: Path | None = None,
    data: str | None = None,
    data_dir: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> LoadedRun:
    """Load a run, see :func:`aigc_jax.runs.load_run`."""
    experiment, config, variables = load_run(
        run, checkpoint=checkpoint, config_file=config_file, data=data, data_dir=data_dir, overrides=overrides
    )
    given = {"--config": config_file, "--data": data, "--data-dir": data_dir}
    options = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    changed = (overrides or {}).get("sampling", {})
    options += option_words({f"sampling.{name}": value for name, value in changed.items()})
    return LoadedRun(run, experiment, config, variables, run_module(run, config_file).build, seed, checkpoint, options)


def evaluated_model(
    loaded: LoadedRun, *, partner: LoadedRun | None = None, denoiser: LoadedRun | None = None
) -> EvaluatedModel:
    """The evaluated model of a run.

    ``partner``: a run whose samples share the noise of this one's; ``denoiser``: one whose detectors score them too.
    """
    experiment, variables, seed = loaded.experiment, loaded.variables, loaded.seed
    algorithm, left_out = experiment.algorithm, dict[str, str]()
    for other in (partner, denoiser):
        if other is not None:
            _check_shape(loaded, other)
    sampler = compile_sampler(experiment)
    model = scored_model(loaded, sampler=sampler, denoiser=denoiser)
    transformed = None if algorithm.latents is None else compile_transformed_sampler(experiment, variables, seed)
    if model.trace_fn is None:
        left_out["trajectory_variance"] = "not available for single-step models or samplers without an observer"
    return model._replace(
        replications=list(_replications(loaded, model.sample_fn)),
        paired_variants=list(_paired_variants(loaded, sampler, transformed, partner, left_out)),
        latent_changes=None if algorithm.latents is None else make_change_fn(experiment, variables, seed),
        sweeps=list(_sweeps(loaded, transformed, left_out)),
        reconstruct=None if algorithm.autoencoder is None else make_reconstruct_fn(experiment, variables),
        token_nll=None if algorithm.logits is None else make_token_nll_fn(experiment, variables),
        left_out=left_out,
    )


def scored_model(
    loaded: LoadedRun, *, sampler: CompiledSampler | None = None, denoiser: LoadedRun | None = None
) -> EvaluatedModel:
    """The samples of a run and their detectors, without the variants that a report compares them with."""
    experiment, variables, seed = loaded.experiment, loaded.variables, loaded.seed
    denoising = experiment.algorithm.denoising
    has_trajectories = denoising is not None and denoising.num_steps > 1
    return EvaluatedModel(
        sample_fn=(sampler or compile_sampler(experiment))(variables, seed),
        num_classes=experiment.num_conditions,
        modality=experiment.modality,
        withheld=() if experiment.world is None else experiment.world.withheld,
        detectors=_detectors(loaded, denoiser),
        trace_fn=make_trajectory_fn(experiment, variables, seed) if has_trajectories else None,
        sampling=loaded.sampling,
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


def _replications(loaded: LoadedRun, sample_fn: SampleBlocksFn) -> Iterator[Replication]:
    yield Replication("once more", sample_fn)
    small = make_sample_fn(loaded.experiment, loaded.variables, loaded.seed, block_size=16)
    yield Replication("in batches of 16", small, ROUNDING_TOLERANCE, is_judged=False, large_difference=LARGE_DIFFERENCE)
    # An accelerator belongs to one process, and tunes its programs anew in each.
    is_here = (loaded.run / "config.json").is_file() and jax.default_backend() == "cpu"
    if is_here and loaded.experiment.modality.num_levels is not None:
        yield Replication(
            "in another process, as files hold them",
            lambda *given: sample_in_subprocess(loaded, *given),
            is_external=True,
            max_seconds=MAX_SECONDS,
        )


def sample_in_subprocess(loaded: LoadedRun, start: int, condition: np.ndarray | None, num: int) -> np.ndarray:
    """The first samples, as the command line draws them in a process of its own."""
    del condition  # the command draws the classes in turn, as the report does
    words = ["sample", str(loaded.run), "--num", str(start + num)]
    words += ["--seed", str(loaded.seed), "--checkpoint", loaded.checkpoint, *loaded.options]
    modality = loaded.experiment.modality
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.npz"
        program = [sys.executable, "-c", "from aigc_jax.cli import main; raise SystemExit(main())"]
        result = subprocess.run([*program, *words, "--out", str(out)], capture_output=True, text=True)
        if result.returncode:
            raise UsageError(f"{' '.join(words)} failed: {result.stderr.strip().rpartition(chr(10))[2]}")
        with np.load(out) as saved:
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
        left_out["model_consistency"] = "name another run of the same data: --partner RUN"
    else:
        other = make_sample_fn(partner.experiment, partner.variables, seed)
        yield PairedVariant("model_consistency", f"model {partner.run.name}", other)
    yield from earlier_checkpoint(loaded, sampler, left_out)
    if transformed is None:
        left_out |= dict.fromkeys(("perturbation", "latent_sensitivity"), NO_LATENT)
    else:
        title = f"{PERTURBED_VARIANCE:.0%} of the latent's variance fresh"
        yield PairedVariant("perturbation", title, transformed(perturb, PERTURBED_VARIANCE))
    num_steps = getattr(loaded.sampling, "num_steps", None)
    if num_steps is None:
        left_out["step_consistency"] = "the model takes one step"
    else:
        twice = with_sampling(loaded, {"num_steps": 2 * num_steps})
        yield PairedVariant("step_consistency", f"{2 * num_steps} steps for {num_steps}", twice)

    def rounded(leaf: Any) -> Any:
        return leaf.astype(jnp.bfloat16).astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    half = sampler(jax.tree.map(rounded, loaded.variables), seed)
    yield PairedVariant("half_precision", "weights rounded to bfloat16", half)


def earlier_step(loaded: LoadedRun) -> int | None:
    """The kept checkpoint nearest to half of the training; None where there is none before the one that is loaded."""
    steps = checkpoint_steps(loaded.run)
    last = int(loaded.checkpoint) if loaded.checkpoint.isdigit() else max(steps, default=0)
    earlier = [step for step in steps if step < last]
    return None if loaded.checkpoint == "best" or not earlier else min(earlier, key=lambda step: abs(2 * step - last))


def earlier_checkpoint(
    loaded: LoadedRun, sampler: CompiledSampler, left_out: dict[str, str]
) -> Iterator[PairedVariant]:
    """The checkpoint nearest to half of the training, if one was kept."""
    step = earlier_step(loaded)
    if step is None:
        left_out["checkpoint_consistency"] = "no earlier checkpoint was kept: train with --keep-checkpoints 2 or more"
        return
    variables = load_variables(loaded.run, abstract_state(loaded.experiment), which=step)
    yield PairedVariant("checkpoint_consistency", f"checkpoint of step {step}", sampler(variables, loaded.seed))


def _detectors(loaded: LoadedRun, denoiser: LoadedRun | None) -> list[NamedDetector]:
    """The run's own detectors, and those of another run."""
    found = []
    for owner in (loaded, denoiser):
        if owner is None:
            continue
        for name, detector in owner.experiment.algorithm.detectors.items():
            score_fn = make_score_fn(owner.experiment, detector, owner.variables, loaded.seed)
            title = name if owner is loaded else f"{name} of {owner.run.name}"
            found.append(NamedDetector(title, score_fn, detector.is_typical_best))
    return found


def with_sampling(loaded: LoadedRun, settings: Mapping[str, Any]) -> SampleBlocksFn:
    """The run's samples under other settings of its sampler."""
    return make_sample_fn(loaded.build(replaced(loaded.config, {"sampling": settings})), loaded.variables, loaded.seed)


def _sweeps(loaded: LoadedRun, transformed: TransformedSampler | None, left_out: dict[str, str]) -> Iterator[Sweep]:
    sampling = loaded.sampling
    if hasattr(sampling, "num_steps"):
        title = "Violations against the number of evaluations"
        variants = list(_sampler_variants(loaded))
        yield Sweep("sampler_sweep", title, "network evaluations per sample", variants, is_rate=True)
    else:
        left_out["sampler_sweep"] = "the model has no sampler with steps"
    for name, values in DECODING.items():
        if hasattr(sampling, name):
            sample_fn_of = _decoder_family(loaded, name)
            variants = [Variant("", value, sample_fn_of(value)) for value in values]
            title = name.replace("_", "-")
            yield Sweep(f"{name}_sweep", f"Trade-offs of the {title}", title, variants)
    if is_guided(loaded.experiment, sampling):
        sample_fn_of = _guided_sampler(loaded)
        weights = sorted({*GUIDANCE, sampling.guidance})
        variants = [Variant("", weight, sample_fn_of(weight)) for weight in weights]
        yield Sweep("guidance_sweep", "Trade-offs of guidance", "guidance weight", variants)
    if transformed is not None and sampling is None:
        x_title = "truncation of the latent, in standard deviations"
        variants = [Variant("", limit, transformed(truncate, limit)) for limit in TRUNCATION]
        yield Sweep("truncation_sweep", "Trade-offs of truncation", x_title, variants)


def _decoder_family(loaded: LoadedRun, name: str) -> Callable[[float], SampleBlocksFn]:
    """``value -> sample_fn`` of one setting of decoding, the others neutral: one program for all values."""
    neutral = {other: 1.0 for other in DECODING}

    def experiment_of(value: jax.Array) -> Experiment:
        # Set after the config was checked, which takes no traced number.
        sampling = dataclasses.replace(loaded.sampling, **{**neutral, name: value})
        return loaded.build(dataclasses.replace(loaded.config, sampling=sampling))  # pyright: ignore[reportCallIssue]

    return compile_sampler_family(experiment_of, loaded.variables, loaded.seed)


def is_guided(experiment: Experiment, sampling: Any) -> bool:
    """Whether samples can be drawn with a guidance weight."""
    is_multistep = getattr(sampling, "sampler", "") == "multistep"
    return hasattr(sampling, "guidance") and experiment.conditions is not None and not is_multistep


def _guided_sampler(loaded: LoadedRun) -> Callable[[float], SampleBlocksFn]:
    """``weight -> sample_fn``; a single program where the weight can be traced."""
    sampling = loaded.sampling
    if not isinstance(sampling, Sampling):
        return lambda weight: with_sampling(loaded, {"guidance": weight})

    def experiment_of(weight: jax.Array) -> Experiment:
        # As a function of the time, the weight is not known when the sampler is built.
        traced: Any = dataclasses.replace(sampling, guidance=lambda t: jnp.full_like(t, weight))  # pyright: ignore
        return loaded.build(dataclasses.replace(loaded.config, sampling=traced))  # pyright: ignore[reportCallIssue]

    return compile_sampler_family(experiment_of, loaded.variables, loaded.seed)


def _sampler_variants(loaded: LoadedRun) -> Iterator[Variant]:
    sampling = loaded.sampling
    if not isinstance(sampling, Sampling) or sampling.sampler == "multistep":
        name = str(getattr(sampling, "sampler", "token sampler"))
        for num_steps in (1, 2, 4, 8) if name == "multistep" else NUM_STEPS:
            yield Variant(name, num_steps, with_sampling(loaded, {"num_steps": num_steps}))
        return
    for name in dict.fromkeys((sampling.sampler, *SAMPLERS)):
        for num_steps in NUM_STEPS:
            settings = {"sampler": name, "num_steps": num_steps}
            config = replaced(loaded.config, {"sampling": settings})
            cost = num_evaluations(config.sampling).num_network  # pyright: ignore[reportAttributeAccessIssue]
            yield Variant(name, cost, with_sampling(loaded, settings))
            # Under guidance even the exact denoiser leaves the data distribution: it is then no floor.
            if sampling.guidance == 1:
                exact = make_exact_sample_fn(loaded.build(config), loaded.variables, loaded.seed)
                if exact is not None:
                    yield Variant(f"{name}{EXACT}", cost, exact, is_exact=True)
