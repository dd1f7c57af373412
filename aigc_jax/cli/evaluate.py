"""The commands that measure: ``evaluate`` writes the report of a run, ``compare`` puts reports side by side."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax.cli.common import Sampler, Trained
from aigc_jax.data.fingerprint import fingerprint
from aigc_jax.data.images import IMAGE, to_png
from aigc_jax.evaluation.classifiers import (
    load_classifier,
    load_judge,
    make_accuracy_fn,
    with_inception,
    with_second_classifier,
)
from aigc_jax.evaluation.evaluate import Settings, evaluate
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.from_run import LoadedRun, evaluated_model, load_subject
from aigc_jax.inference.perturbation import features_fn, make_path_fn
from aigc_jax.report.files import write_report
from aigc_jax.report.gates import check_gates, read_gates
from aigc_jax.report.text import summary_lines
from aigc_jax.runs import told_values
from aigc_jax.types import Data, UsageError


@dataclasses.dataclass(frozen=True)
class Evaluate(Sampler, Trained):
    """Measure a trained run and write its report; with a gate file, exit 1 when a gate fails."""

    num_samples: int = 5000
    """Number of samples to measure."""
    gate: Path | None = None
    """A TOML file of limits, for example [class_agreement] min = 0.98: the targets that colour the lights."""
    seed: int = 0
    """Which sequence of samples."""
    sweep_samples: int = 200
    """Samples at each point of the sweeps over samplers, guidance or truncation; 0 leaves them out."""
    detector_samples: int = 1000
    """How many of the samples the detectors of hallucination score."""
    risk: float = 0.01
    """The risk of violations that a calibrated filter shall guarantee, in (0, 1)."""
    partner: Path | None = None
    """Another run of the same data: do both make the like of the same noise?"""
    denoiser: Path | None = None
    """The run of a denoising model whose detectors score this run's samples too."""
    inception: Path | None = None
    """The published Inception weights (pt_inception-2015-12-05-6726825d.pth): its features take the place of the
    classifier's in every distance."""
    single_judge: bool = False
    """Ask one classifier alone whether samples show their class, and no second one of another architecture."""
    cas: bool = False
    """Also train a classifier on samples alone and test it on real images: a minute or two more."""


def evaluate_run(arguments: Evaluate) -> int:
    """Measure a run, write its report, print its figures, and check its gates."""
    _check(arguments)
    gates = read_gates(arguments.gate) if arguments.gate else None
    loaded = _load(arguments, arguments.run, {"sampling": arguments.overrides()}, arguments.checkpoint)
    partner, denoiser = (
        None if run is None else _load(arguments, run, {}) for run in (arguments.partner, arguments.denoiser)
    )
    subject = evaluated_model(loaded, partner=partner, denoiser=denoiser)
    data = loaded.experiment.open_data()
    judge = load_judge(loaded.experiment, loaded.config, data)
    if not arguments.single_judge and loaded.experiment.conditions is not None:
        judge = with_second_classifier(judge, loaded.config, data)
    if arguments.inception is not None and loaded.experiment.modality.name != IMAGE.name:
        raise UsageError("the Inception network sees images, this run makes points: leave --inception out")
    if arguments.inception is not None:
        judge = with_inception(judge, arguments.inception)
    if arguments.cas and loaded.experiment.conditions is not None and judge.world is None:
        subject = subject._replace(accuracy_fn=make_accuracy_fn(loaded.config, data))
    subject = subject._replace(path_lengths=_path_lengths(loaded, data))
    settings = Settings(arguments.num_samples, arguments.detector_samples, arguments.sweep_samples, arguments.risk)
    evaluation = evaluate(subject=subject, judge=judge, data=data, settings=settings, gates=gates)
    report = evaluation.report._replace(facts=_facts(loaded, arguments, data))
    html, json_file = write_report(
        arguments.run, report, grid=_grid(loaded, evaluation.samples, data), per_sample=evaluation.per_sample
    )
    # Whole lines for a log file.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(summary_lines(report, width)))
    print(f"report: {html}    {json_file}")
    failures = check_gates(report, gates) if gates is not None else []
    for line in failures:
        print(f"gate failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def _path_lengths(loaded: LoadedRun, data: Data) -> Callable[[int], np.ndarray] | None:
    """Path lengths in the features of the data's classifier; None where the model starts from no one latent."""
    if loaded.experiment.algorithm.latents is None or loaded.experiment.world is not None:
        return None
    _, classifier, weights = load_classifier(loaded.config, data)
    return make_path_fn(loaded.experiment, loaded.variables, loaded.seed, features_fn(classifier, weights))


def _check(arguments: Evaluate) -> None:
    if arguments.num_samples < 1:
        raise UsageError(f"expected at least one sample, got {arguments.num_samples}: pass --num-samples 100 or more")
    if min(arguments.sweep_samples, arguments.detector_samples) < 0:
        raise UsageError("expected --sweep-samples and --detector-samples of 0 or more: 0 leaves them out")
    if not 0 < arguments.risk < 1:
        raise UsageError(f"expected --risk in (0, 1), got {arguments.risk}: 0.01 accepts one violation in a hundred")


def _load(arguments: Evaluate, run: Path, overrides: dict[str, Any], checkpoint: str = "latest") -> LoadedRun:
    return load_subject(
        run,
        checkpoint=checkpoint,
        config_file=arguments.config if run == arguments.run else None,
        data=arguments.data,
        data_dir=arguments.data_dir,
        overrides=overrides,
        seed=arguments.seed,
    )


def _facts(loaded: LoadedRun, arguments: Evaluate, data: Data) -> dict[str, str]:
    """How the samples were drawn, and which data they are compared with."""
    how = {f"sampling {name}": str(value) for name, value in told_values(loaded.config, "sampling").items()}
    mark = fingerprint(data).checksum[:12]
    return {"checkpoint": arguments.checkpoint, "seed": str(arguments.seed), **how, "data checksum": mark}


def _grid(loaded: LoadedRun, samples: Examples, data: Data) -> bytes | None:
    """The first samples as a picture, not chosen."""
    modality = loaded.experiment.modality
    first = samples.select(slice(0, modality.num_shown))
    shown = modality.show(first.values, first.condition, data.class_names)
    return to_png(shown) if isinstance(shown, np.ndarray) else None
