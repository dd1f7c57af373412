"""Copies of training examples, by pixel distance, compared with held-out examples: a copy is one in any features."""

from __future__ import annotations

import numpy as np

from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.examples import match_class_counts
from aigc_jax.evaluation.section import Evidence, Section, proportion, reason
from aigc_jax.evaluation.sections.text import NO_TEXT, copied_text
from aigc_jax.metrics.differences import share_difference
from aigc_jax.metrics.memorization import Copies, Memorization, data_copying, flag_copies, memorization
from aigc_jax.report.figures import Figure, Gallery, Histogram
from aigc_jax.report.measurements import Details, Measurement, measure
from aigc_jax.types import UsageError

NUM_NEIGHBORS, TAIL = 50, 0.01
"""Training examples that a distance is calibrated by; share of held-out examples in the left tail of distances."""

_NAMES = ("longest_match", "shared_ngrams", "copied_samples", "authenticity", "copying_test", "copying_worst_cell")


def copying(evidence: Evidence) -> Section:
    """The distances of samples to the training examples, and the share that is too small."""
    if not evidence.model.knows_training:
        why = "the training examples of the model are not known: pass --train"
        return Section("not_copied", left_out=dict.fromkeys(_NAMES, why))
    distance, texts = evidence.model.modality.distance, evidence.model.modality.texts
    if texts is not None:
        return copied_text(evidence, texts)
    if distance is None:
        why = f"no distance is defined between examples of the kind {evidence.model.modality.name}"
        return Section("not_copied", left_out=dict.fromkeys(_NAMES, why))
    train = evidence.training_set
    if len(train) <= NUM_NEIGHBORS:
        why = f"expected more than {NUM_NEIGHBORS} training examples for neighbourhoods, got {len(train)}"
        return Section("not_copied", left_out=dict.fromkeys(_NAMES, why))
    samples, held_out = match_class_counts(evidence.distinct, evidence.held_out, is_equal=False)
    vectors, real, ours = (distance(values) for values in (train, held_out.values, samples.values))
    found = memorization(vectors, real, ours, num_neighbors=NUM_NEIGHBORS)
    is_real, is_ours = found.held_out.is_authentic, found.samples.is_authentic
    details: Details = {"reference": float(is_real.mean()), "reference_title": "real held-out examples"}
    left_out: dict[str, str] = {name: NO_TEXT for name in _NAMES[:2]}
    copies = None
    measurements = [proportion("authenticity", int(is_ours.sum()), len(is_ours), **details)]
    checks: list[Comparison] = []
    try:
        copies = flag_copies(found, rate=TAIL)
        num_real = len(found.held_out.ratios)
        count, n = int(copies.is_flagged.sum()), len(copies.is_flagged)
        checks.append(Comparison("copied_samples", share_difference(count, n, copies.rate * num_real, num_real)))
        measurements.insert(0, _copied(found, copies))
    except UsageError as error:
        left_out["copied_samples"] = reason(error)
    try:
        tested = data_copying(vectors, real, ours, found)
        num_cells = int(np.isfinite(tested.z).sum())
        measurements += [
            measure("copying_test", tested.value, samples.num),
            measure("copying_worst_cell", tested.min_z, samples.num, detail=str(num_cells)),
        ]
    except UsageError as error:
        left_out |= dict.fromkeys(("copying_test", "copying_worst_cell"), reason(error))
    figures = [_histogram(found, copies), *_nearest(evidence, samples.values, found)]
    return Section("not_copied", measurements, checks, figures, left_out, measurements[0].name)


def _copied(found: Memorization, copies: Copies) -> Measurement:
    """Samples nearer to a training example than nearly all held-out examples."""
    n, count = len(copies.is_flagged), int(copies.is_flagged.sum())
    ours, real = (float(np.mean(each.ratios < 1)) for each in (found.samples, found.held_out))
    tail = float(np.quantile(found.relative_distances, TAIL))
    note = (
        f"The fixed rule of Carlini et al. (below 1) flags {ours:.1%}, and {real:.1%} of held-out examples. The "
        f"nearest {TAIL:.0%} of the samples lie within {tail:.2g} times the median distance of real ones."
    )
    title = "as many fresh examples"
    return proportion("copied_samples", count, n, reference=copies.rate, reference_title=title, note=note)


def _histogram(found: Memorization, copies: Copies | None) -> Figure:
    ours, real = found.samples, found.held_out
    top = float(np.quantile(np.concatenate([ours.ratios, real.ratios]), 0.995)) or 1.0
    edges = np.linspace(0.0, max(top, 1.05), 41)
    shares = {
        name: (np.histogram(np.minimum(each.ratios, edges[-1]), edges)[0] / len(each.ratios)).tolist()
        for name, each in (("samples", ours), ("held-out examples", real))
    }
    caption = (
        "Distance to the nearest training example over half the mean distance to the 50 nearest. Copies lie at 0; "
        "samples left of the mark count as copied. Samples should be distributed as held-out examples are, above all "
        "in the left tail."
    )
    marks = {} if copies is None else {"counts as copied": copies.threshold}
    title = "Distance to the nearest training example"
    return Histogram("nearest_training", title, caption, "calibrated distance", edges.tolist(), shares, marks)


def _nearest(evidence: Evidence, samples: np.ndarray, found: Memorization) -> list[Figure]:
    """The samples nearest to training examples, above those."""
    picture = evidence.model.modality.picture
    if picture is None:
        return []
    ours = found.samples
    chosen = np.argsort(ours.ratios, kind="stable")[:10]
    groups = [picture(samples[chosen]), picture(evidence.training_set[ours.nearest[chosen]])]
    labels = [[f"{ours.ratios[i]:.2f}" for i in chosen], ["" for _ in chosen]]
    caption = "The ten samples of the smallest calibrated distance (below each), and the training image nearest to it."
    return [Gallery("nearest_strip", "Nearest to the training set", caption, groups, labels, ["sample", "training"])]
