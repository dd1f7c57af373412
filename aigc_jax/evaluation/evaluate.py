"""Measure a model: draw samples, show them and real examples to a judge, compare, and put it all into one report."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from aigc_jax.evaluation.detection import Detection, detection
from aigc_jax.evaluation.examples import Examples, draw, real
from aigc_jax.evaluation.judge import Judge
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.recommendations import Findings, recommendations
from aigc_jax.evaluation.section import Evidence, Section
from aigc_jax.evaluation.sections.condition import follows_condition, judged_class
from aigc_jax.evaluation.sections.consistency import consistency, first_occurrences, repeated_pairs
from aigc_jax.evaluation.sections.copying import copying, training_examples
from aigc_jax.evaluation.sections.diversity import diversity
from aigc_jax.evaluation.sections.paired_noise import similarity_inputs
from aigc_jax.evaluation.sections.reconstruction import reconstruction
from aigc_jax.evaluation.sections.validity import validity
from aigc_jax.evaluation.significance import judge_criteria
from aigc_jax.evaluation.sweeps import sweeps, violates
from aigc_jax.metrics.precision_recall import Overlap, overlap
from aigc_jax.report.gates import Gates, targets
from aigc_jax.report.schema import Criterion, CriterionName, Report
from aigc_jax.types import Data, UsageError

MAX_TRAIN = 10_000
"""Training examples whose features are compared; many more are searched for copies."""

NUM_NEIGHBORS, NUM_DENSITY_NEIGHBORS = 3, 5
"""k of precision and recall, and of density and coverage, as in the papers."""


class Settings(NamedTuple):
    """How much is measured.

    Attributes:
        num_samples: samples to draw, >= 1.
        num_detected: of them, how many every detector scores.
        num_swept: samples at each point of a sweep; 0 leaves the sweeps out.
        risk: the risk that a calibrated filter shall guarantee, in (0, 1).
    """

    num_samples: int = 5000
    num_detected: int = 1000
    num_swept: int = 200
    risk: float = 0.01


class Evaluation(NamedTuple):
    """A report, and what it knows of each sample.

    Attributes:
        report: the report.
        per_sample: ``{name: array [num_samples, ...]}``: condition, predicted class, validity, scores, features.
        samples: what was measured.
    """

    report: Report
    per_sample: Mapping[str, np.ndarray]
    samples: Examples


def evaluate(
    *, subject: EvaluatedModel, judge: Judge, data: Data, settings: Settings, gates: Gates | None = None
) -> Evaluation:
    """Measure how far a model can be relied on.

    Sample i has condition ``i % num_classes``. Distances compare n samples with n held-out examples, and beside them n
    training examples with the same held-out ones; n is as large as the sets allow.

    Args:
        subject: the model.
        judge: what looks at its samples, see :class:`aigc_jax.evaluation.model.Judge`.
        data: real examples, and their classes where there are any.
        settings: how much is measured.
        gates: what the user demands, for the lights; see :mod:`aigc_jax.report.gates`.

    Returns:
        The report; what could not be measured is named in ``left_out`` with the reason.

    Raises:
        UsageError: no samples asked for, samples with NaN or Inf, or a judge of other classes.
    """
    if settings.num_samples < 1:
        raise UsageError(f"expected at least 1 sample to evaluate, got {settings.num_samples}: raise --num-samples")
    evidence = collect_evidence(subject, judge, data, settings)
    found = _measure(evidence, data, settings)
    sections = found.sections
    measurements = [row for section in sections.values() for row in section.measurements]
    left_out = {name: why for section in sections.values() for name, why in section.left_out.items()}
    criteria = judge_criteria(
        {name: section.checks for name, section in sections.items()},
        {name: section.headline for name, section in sections.items()},
        {name: next(iter(section.left_out.values()), "") for name, section in sections.items()},
    )
    swept, no_sweep = sweeps(evidence, settings.num_swept)
    figures = [*(figure for section in sections.values() for figure in section.figures), *found.figures, *swept]
    report = Report(
        data=data.name,
        judge=judge.name,
        num_samples=settings.num_samples,
        measurements=measurements,
        criteria=with_targets(criteria, Report(data.name, judge.name, settings.num_samples, measurements), gates),
        figures=figures,
        left_out={**left_out, **found.detection.left_out, **no_sweep},
    )
    findings = Findings(
        {row.name: row for row in measurements},
        {criterion.name: criterion for criterion in report.criteria},
        {figure.name: figure for figure in figures},
        found.detection.best_auc,
        found.detection.acceptance,
        subject.guidance,
        subject.takes_rescaling,
    )
    report = report._replace(recommendations=recommendations(findings))
    return Evaluation(report, _per_sample(evidence, found.detection), evidence.samples)


class _Found(NamedTuple):
    sections: dict[CriterionName, Section]
    figures: list
    detection: Detection


def collect_evidence(subject: EvaluatedModel, judge: Judge, data: Data, settings: Settings) -> Evidence:
    """Draw and read. Real examples first: they show in a second what would be wrong after minutes of sampling."""
    num_real = max(settings.num_samples, 1000)
    held_out = real(data.held_out, judge, num_real, title="held-out examples", modality=subject.modality)
    train = real(
        data.train,
        judge,
        min(MAX_TRAIN, max(num_real, held_out.num)),
        title="training examples",
        modality=subject.modality,
    )
    logits, num_classes = held_out.verdicts.logits, subject.num_classes
    if num_classes is not None and logits is not None and logits.shape[-1] != num_classes:
        raise UsageError(
            f"the model has {num_classes} classes, the classifier {judge.name} has {logits.shape[-1]}: "
            "name a classifier of the same data set"
        )
    samples = draw(
        subject.sample_fn,
        judge,
        settings.num_samples,
        num_classes=num_classes,
        title="samples",
        modality=subject.modality,
    )
    # A world of few examples repeats itself; then repetitions of samples are no fault, and count.
    is_repetitive = repeated_pairs([held_out.values, train.values]) > 0
    distinct = np.arange(samples.num) if is_repetitive else first_occurrences(samples.values)
    return Evidence(subject, judge, samples, held_out, train, distinct, data.name)


def _measure(evidence: Evidence, data: Data, settings: Settings) -> _Found:
    inside, real_inside = _manifold(evidence, evidence.samples), _manifold(evidence, evidence.held_out)
    alike = match_class_counts(evidence, is_equal=True)
    n = min(alike.samples.num, alike.held_out.num)
    train = training_examples(data, evidence.subject.modality)
    seen, by_real = (_manifold(evidence, each.select(slice(0, n))) for each in (alike.samples, alike.held_out))
    sections: dict[CriterionName, Section] = {
        "valid": validity(evidence, inside, real_inside),
        "follows_condition": follows_condition(evidence),
        "consistent": consistency(evidence),
        "not_copied": copying(match_class_counts(evidence, is_equal=False), train),
        "diverse": diversity(alike, seen, by_real).joined(reconstruction(evidence, train)),
    }
    detected = detection(evidence, inside, num=settings.num_detected, risk=settings.risk)
    return _Found(sections, list(detected.figures), detected)


def match_class_counts(evidence: Evidence, *, is_equal: bool) -> Evidence:
    """Distinct samples and held-out examples of the same classes, equally many or in the same shares.

    Samples are asked for all classes in turn; real classes have shares of their own, and withheld ones none. That is
    no fault of the model, and must not pass for one.
    """
    samples, held_out = evidence.distinct_samples, evidence.held_out
    if samples.condition is None or held_out.condition is None:
        return evidence._replace(samples=samples)
    ours, real = np.asarray(samples.condition), np.asarray(held_out.condition)
    num_classes = 1 + int(max(ours.max(), real.max()))
    num_ours, num_real = (np.bincount(each, minlength=num_classes) for each in (ours, real))
    is_shown = (num_ours > 0) & (num_real > 0)
    if not is_shown.any():
        return evidence._replace(samples=samples)
    # As many of each class, or where numbers may differ as large a part of each.
    share = 1.0 if is_equal else float((num_real[is_shown] / num_ours[is_shown]).min())
    wanted = np.where(is_shown, np.minimum(num_real, np.floor(share * num_ours)), 0).astype(np.int64)
    kept = np.minimum(num_ours, wanted) if is_equal else np.where(is_shown, num_ours, 0)
    return evidence._replace(
        samples=samples.select(first_per_class(ours, kept)), held_out=held_out.select(first_per_class(real, wanted))
    )


def first_per_class(condition: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Numbers of the first so many examples of each class, in their order."""
    rank = np.zeros(len(condition), np.int64)
    for each in range(len(counts)):
        rank[condition == each] = np.arange(np.sum(condition == each))
    return np.flatnonzero(rank < counts[condition])


def _manifold(evidence: Evidence, examples: Examples) -> Overlap | None:
    """Examples among the training examples; None where there are too few for nearest neighbours."""
    if min(examples.num, evidence.train.num) <= NUM_DENSITY_NEIGHBORS:
        return None
    return overlap(
        evidence.train.verdicts.features,
        examples.verdicts.features,
        k=NUM_NEIGHBORS,
        density_k=NUM_DENSITY_NEIGHBORS,
    )


def with_targets(criteria: list[Criterion], report: Report, gates: Gates | None) -> list[Criterion]:
    """The lights with what the user demands of each."""
    wanted = targets(report, gates or {})
    return [criterion._replace(targets=tuple(wanted.get(criterion.name, ()))) for criterion in criteria]


def _per_sample(evidence: Evidence, detected: Detection) -> dict[str, np.ndarray]:
    """What ``aigc-jax compare`` pairs: everything known of each sample, by its number."""
    samples = evidence.samples
    table = {"features": samples.verdicts.features, "violates": violates(evidence, samples)}
    with contextlib.suppress(UsageError):  # no two real examples of one mode: compared by features
        table |= similarity_inputs(evidence, samples)
    if samples.condition is not None:
        table["condition"] = samples.condition
    if samples.verdicts.predicted is not None:
        table["observed"] = judged_class(samples)
    if samples.verdicts.second is not None:
        table["second"] = samples.verdicts.second
    return {**table, **{f"score/{name}": values for name, values in detected.scores.items()}}
