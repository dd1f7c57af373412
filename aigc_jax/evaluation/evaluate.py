"""Evaluation of a model: samples and real examples are judged and compared, section by section, into one report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from aigc_jax.evaluation.equivalence import checks_of, worst_state
from aigc_jax.evaluation.examples import Examples, draw, real
from aigc_jax.evaluation.judge import Judge
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.recommendations import Commands, Findings, recommendations
from aigc_jax.evaluation.section import Evidence, Section, Settings
from aigc_jax.evaluation.sections.condition import follows_condition
from aigc_jax.evaluation.sections.consistency import consistency
from aigc_jax.evaluation.sections.copying import copying
from aigc_jax.evaluation.sections.detection import detection
from aigc_jax.evaluation.sections.diversity import diversity
from aigc_jax.evaluation.sections.facts import facts
from aigc_jax.evaluation.sections.paired_noise import similarity_inputs
from aigc_jax.evaluation.sections.reconstruction import reconstruction
from aigc_jax.evaluation.sections.sweeps import sweeps
from aigc_jax.evaluation.sections.text import diversity_of_text
from aigc_jax.evaluation.sections.validity import validity
from aigc_jax.evaluation.trust import trusted
from aigc_jax.report.criteria import Margins
from aigc_jax.report.figures import Gallery
from aigc_jax.report.files import FIRST_SAMPLES
from aigc_jax.report.gates import Gates, targets
from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Criterion, Report
from aigc_jax.types import Data, UsageError

SECTIONS = (
    validity,
    facts,
    follows_condition,
    consistency,
    copying,
    diversity,
    diversity_of_text,
    reconstruction,
    detection,
    sweeps,
)
"""All sections, in the order of the report."""

MAX_REAL = 10_000
"""Training examples, and held-out ones, whose features are compared, at any number of samples; many more of the former
are searched for copies."""


NUM_FIRST = 10
"""Samples on the first screen of a page."""


class Evaluation(NamedTuple):
    """A report, and the samples that it is of."""

    report: Report
    per_sample: Mapping[str, np.ndarray]
    """``{name: array [num_samples, ...]}``: condition, predicted class, violation, scores, features."""
    samples: Examples


def evaluate(
    *,
    model: EvaluatedModel,
    judge: Judge,
    data: Data,
    settings: Settings,
    gates: Gates | None = None,
    commands: Commands | None = None,
    on_progress: Callable[[str], None] = lambda stage: None,
) -> Evaluation:
    """Evaluate a model: the report, and what is known of each sample.

    Distances compare n samples with n held-out examples, and n training examples with the same held-out ones; n is as
    large as the sets allow. ``on_progress`` is called with the name of each stage as it begins. Raises UsageError where
    no samples are requested, samples hold NaN or Inf, or the judge has other classes.
    """
    if settings.num_samples < 1:
        raise UsageError(f"expected at least 1 sample to evaluate, got {settings.num_samples}: raise --num-samples")
    on_progress("real examples and samples")
    evidence = collect_evidence(model, judge, data, settings)
    found = []
    for number, section in enumerate(SECTIONS, start=1):
        on_progress(f"{section.__name__.replace('_', ' ')} ({number} of {len(SECTIONS)})")
        found.append(section(evidence))
    report = Report(
        data=data.name,
        judge=judge.name,
        num_samples=settings.num_samples,
        measurements=[row for section in found for row in section.measurements],
        figures=[*_first_samples(evidence), *(figure for section in found for figure in section.figures)],
        left_out={name: reason for section in found for name, reason in section.left_out.items()},
        facts={"judges learned from": judge.learned_from} if judge.learned_from else {},
    )
    gates = gates or Gates()
    limits = targets(report, gates)
    criteria = [each._replace(targets=tuple(limits.get(each.name, ()))) for each in _criteria(found, gates.margins)]
    report = report._replace(criteria=criteria)
    known = {name: value for section in found for name, value in section.facts.items()}
    findings = Findings(report, known, model.sampling, commands or Commands())
    report = report._replace(recommendations=recommendations(findings))
    return Evaluation(report, _per_sample(evidence, found), evidence.samples)


def _criteria(found: Sequence[Section], margins: Margins) -> list[Criterion]:
    """The five criteria, in the order of the page, by all comparisons of all sections together."""
    checks = checks_of([check for section in found for check in section.checks], margins)
    criteria = []
    for name in CRITERION_TITLES:
        own = [section for section in found if section.criterion == name]
        headline = next((section.headline for section in own if section.headline), "")
        reasons = [reason for section in own for reason in section.left_out.values()]
        why_not = "" if checks[name] else next(iter(reasons), "nothing was compared")
        is_applicable = all(section.is_applicable for section in own)
        state = worst_state(checks[name])
        criteria.append(Criterion(name, state, headline, checks[name], (), why_not, is_applicable))
    return criteria


def _first_samples(evidence: Evidence) -> list[Gallery]:
    """The first samples, not selected."""
    picture, samples = evidence.model.modality.picture, evidence.samples
    if picture is None:
        return []
    num = min(NUM_FIRST, samples.num)
    labels = [""] * num if samples.condition is None else [evidence.class_name(int(i)) for i in samples.condition[:num]]
    return [Gallery("first_samples", "The first samples", "Not selected.", [picture(samples.values[:num])], [labels])]


def collect_evidence(model: EvaluatedModel, judge: Judge, data: Data, settings: Settings) -> Evidence:
    """Real examples first: they fail within a second where samples would fail after minutes."""
    held_out = real(data.held_out, judge, MAX_REAL, title="held-out examples", modality=model.modality)
    judge, held_out = trusted(judge, held_out, settings.min_judge_accuracy)
    train = real(data.train, judge, MAX_REAL, title="training examples", modality=model.modality)
    logits = held_out.predictions.logits
    if model.num_classes is not None and logits is not None and logits.shape[-1] != model.num_classes:
        raise UsageError(
            f"the model has {model.num_classes} classes, the classifier {judge.name} has {logits.shape[-1]}: "
            "name a classifier of the same data set"
        )
    samples = draw(model, model.sample_fn, judge, settings.num_samples, title="samples")
    return Evidence(model, judge, data, samples, held_out, train, settings)


def _per_sample(evidence: Evidence, found: Sequence[Section]) -> dict[str, np.ndarray]:
    """The table by which ``aigc-jax compare`` pairs samples."""
    samples = evidence.samples
    table: dict[str, np.ndarray] = {}
    with contextlib.suppress(UsageError):  # no features, or no two real examples of one mode
        table |= similarity_inputs(evidence, samples)
    optional = {"features": samples.predictions.features, "condition": samples.condition}
    optional["observed"] = None if samples.predictions.predicted is None else samples.judged_class
    optional["second"] = samples.predictions.second
    if evidence.model.modality.picture is not None:
        optional[FIRST_SAMPLES] = evidence.model.modality.picture(samples.values[:NUM_FIRST])
    table |= {name: values for name, values in optional.items() if values is not None}
    return {**table, **{name: values for section in found for name, values in section.per_sample.items()}}
