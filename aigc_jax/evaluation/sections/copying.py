"""Are samples copies of training examples? Distances to the nearest of them, beside those of held-out examples.

In the space of pixels (or of points) itself: a copy is a copy whatever a network makes of it.
"""

from __future__ import annotations

import numpy as np

from aigc_jax.data.arrays import take
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.metrics.memorization import Copies, DataCopying, Memorization, data_copying, flag_copies, memorization
from aigc_jax.report.figures import Figure, Gallery, Histogram
from aigc_jax.report.schema import Check, Measurement
from aigc_jax.types import Data, Modality, UsageError

MAX_TRAIN = 100_000
"""Training examples that are searched; of more, as many drawn at random."""

NUM_NEIGHBORS, TAIL = 50, 0.01
"""Training examples that a distance is held against; share of held-out examples whose distance marks the left tail."""

_NOTES = {
    "copied_samples": "Share of samples whose calibrated distance (to the nearest training example, over half the mean "
    "distance to the 50 nearest) is below that of all but 1 % of held-out examples.",
    "authenticity": "Share of samples farther from their nearest training example than that one's own nearest "
    "neighbour; fresh samples do not give one half, held-out examples say what they give.",
    "copying_test": "C_T: z value of the distances to the training set against those of held-out examples, mean over "
    "cells. Far below 0 is copying, far above underfitting; half of each looks harmless, so read the worst cell.",
    "copying_worst_cell": "The least z value of any cell of C_T: copying in one part of the data.",
}


def copying(evidence: Evidence, train: np.ndarray) -> Section:
    """How near samples lie to training examples.

    Args:
        evidence: what was looked at.
        train: the training examples to search, as they are stored, from :func:`training_examples`.

    Returns:
        The section.
    """
    if len(train) <= NUM_NEIGHBORS:
        reason = f"expected more than {NUM_NEIGHBORS} training examples for neighbourhoods, got {len(train)}"
        return Section(left_out=dict.fromkeys(_NOTES, reason))
    distance = evidence.subject.modality.distance
    if distance is None:
        return Section(left_out=dict.fromkeys(_NOTES, "no distance between such examples means anything"))
    flat, real, ours = (distance(each) for each in (train, evidence.held_out.values, evidence.samples.values))
    found = memorization(flat, real, ours, num_neighbors=NUM_NEIGHBORS)
    measurements, left_out, copies = [_authentic(found)], dict[str, str](), None
    checks: list[Check] = []
    try:
        copies = flag_copies(found, rate=TAIL)
        title = f"samples nearer than the nearest {copies.rate:.1%} of real ones"
        checks.append(Check(title, copies.share, copies.rate, copies.p_value, False))
        measurements.insert(0, _copied(found, copies))
    except UsageError as error:
        left_out["copied_samples"] = str(error)
    try:
        measurements += _tested(data_copying(flat, real, ours, found), len(ours))
    except UsageError as error:
        left_out |= dict.fromkeys(("copying_test", "copying_worst_cell"), str(error))
    figures = [_histogram(found, None if copies is None else copies.threshold), *_strip(evidence, found, train)]
    return Section(measurements, checks, figures, left_out, measurements[0].name)


def training_examples(data: Data, modality: Modality) -> np.ndarray:
    """All training examples as they are stored, or :data:`MAX_TRAIN` of more.

    Args:
        data: where they are.
        modality: their kind.

    Returns:
        [N, ...], images as uint8.
    """
    order = np.random.default_rng(0).permutation(len(data.train))[:MAX_TRAIN]
    return take(data.train, np.sort(order))[modality.name]


def _copied(found: Memorization, copies: Copies) -> Measurement:
    """Samples that lie nearer to a training example than held-out examples hardly ever do."""
    n, count = len(copies.is_flagged), int(copies.is_flagged.sum())
    ours, real = (float(np.mean(each.ratios < 1)) for each in (found.samples, found.held_out))
    rule = f"The fixed rule of Carlini et al. (below 1) flags {ours:.1%}, and {real:.1%} of held-out examples."
    tail = float(np.quantile(found.relative_distances, TAIL))
    left = f"The nearest {TAIL:.0%} of the samples lie within {tail:.2g} times the median distance of real ones."
    note = f"{_NOTES['copied_samples']} {rule} {left}"
    row = proportion("copied_samples", "copied samples", count=count, n=n, note=note)
    title = "what as many fresh examples give"
    return row._replace(reference=copies.rate, reference_title=title, lower_is_better=True)


def _authentic(found: Memorization) -> Measurement:
    ours, real = found.samples.is_authentic, found.held_out.is_authentic
    row = proportion("authenticity", "authenticity", count=int(ours.sum()), n=len(ours), note=_NOTES["authenticity"])
    return row._replace(reference=float(real.mean()), reference_title="real held-out examples")


def _tested(result: DataCopying, n: int) -> list[Measurement]:
    """C_T and its worst cell."""
    note = _NOTES["copying_test"]
    title = f"C_T, worst of {int(np.isfinite(result.z).sum())} cells"
    worst = f"{_NOTES['copying_worst_cell']} As low by chance in one of so many cells: p = {result.p_value:.2g}."
    return [
        Measurement("copying_test", "C_T", result.value, n, "score", note),
        Measurement("copying_worst_cell", title, result.min_z, n, "score", worst),
    ]


def _histogram(found: Memorization, threshold: float | None) -> Figure:
    ours, real = found.samples, found.held_out
    top = float(np.quantile(np.concatenate([ours.ratios, real.ratios]), 0.995)) or 1.0
    edges = np.linspace(0.0, max(top, 1.05), 41)
    shares = {
        name: (np.histogram(np.minimum(each.ratios, edges[-1]), edges)[0] / len(each.ratios)).tolist()
        for name, each in (("samples", ours), ("held-out examples", real))
    }
    caption = (
        "Distance to the nearest training example over half the mean distance to the 50 nearest: copies lie at 0, and "
        "left of the mark counts as copied. Samples should lie where held-out examples lie, the left tail above all."
    )
    marks = {} if threshold is None else {"counts as copied": threshold}
    title = "Distance to the nearest training example"
    return Histogram("nearest_training", title, caption, "calibrated distance", edges.tolist(), shares, marks)


def _strip(evidence: Evidence, found: Memorization, train: np.ndarray) -> list[Figure]:
    """The samples nearest to training examples, above those."""
    picture = evidence.subject.modality.picture
    if picture is None:
        return []
    ours = found.samples
    chosen = np.argsort(ours.ratios, kind="stable")[:10]
    groups = [picture(evidence.samples.values[chosen]), picture(train[ours.nearest[chosen]])]
    labels = [[f"{ours.ratios[i]:.2f}" for i in chosen], ["" for _ in chosen]]
    caption = "The ten samples of the smallest calibrated distance (below each), and the training image nearest to it."
    return [Gallery("nearest_strip", "Nearest to the training set", caption, groups, labels, ["sample", "training"])]
