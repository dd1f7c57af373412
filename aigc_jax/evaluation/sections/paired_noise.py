"""Similarity of samples of the same noise: of another model (C2), an earlier checkpoint (C3), after a change (C4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence
from aigc_jax.metrics.consistency import (
    PairedAgreement,
    attribute_agreement,
    drift,
    radius_agreement,
    reproducibility,
    sensitivity,
)
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.report.figures import Figure, Gallery, Table
from aigc_jax.report.formatting import format_count_share, format_share
from aigc_jax.report.measurements import MEASUREMENTS, Details, Measurement, measure
from aigc_jax.types import UsageError

NUM_PAIRED = 256
"""Samples that are drawn again from each variant."""

NEAR, NUM_NEAR = 0.1, 200
"""Share of the pairs of real points of a mode that count as near, and the most points that they are pairs of."""

MIN_PER_CLASS = 10
"""Pairs of a class from which its mean is taken."""


class Pair(NamedTuple):
    """The first samples of a variant of the model, of the same noise as the model's own."""

    measurement: str
    title: str
    samples: Examples


def draw_pairs(evidence: Evidence, left_out: dict[str, str]) -> tuple[list[Pair], list[Measurement]]:
    """The samples of all variants, and how similar they are to the model's own."""
    pairs, rows = [], []
    num = min(NUM_PAIRED, evidence.samples.num)
    for variant in evidence.model.paired_variants:
        try:
            drawn = evidence.draw(variant.sample_fn, num, variant.title)
            pairs.append(Pair(variant.measurement, variant.title, drawn))
            rows.append(_similarity(evidence, pairs[-1]))
        except UsageError as error:
            left_out[variant.measurement] = f"{variant.title}: {error}"
    return pairs, rows


def _similarity(evidence: Evidence, pair: Pair) -> Measurement:
    ours, theirs = evidence.samples.select(slice(0, pair.samples.num)), pair.samples
    inputs = similarity_inputs(evidence, ours)
    found = pair_similarity(inputs, similarity_inputs(evidence, theirs), ours.condition)
    if np.isnan(found.chance):
        raise UsageError("no two samples have one condition, so that chance is not known: ask for more samples")
    detail, note, is_proxy = _description(evidence, inputs)
    notes = [f"{note}; {found.excess:.1%} beyond chance ({found.excess_low:.1%} to {found.excess_high:.1%})."]
    if (distance := evidence.model.modality.distance) is not None:
        values = distance(ours.values)
        change = sensitivity(values, distance(theirs.values), values)
        notes.append(
            f"Median change relative to the sample {change.median:.2g}, 95 % of samples below {change.quantile_95:.2g}."
        )
    classes, earlier = ours.predictions.predicted, theirs.predictions.predicted
    if pair.measurement == "checkpoint_consistency" and classes is not None and earlier is not None:
        num_values = 1 + int(max(classes.max(), earlier.max()))
        drifted = drift(*(np.bincount(each, minlength=num_values) for each in (earlier, classes)))
        notes.append(
            f"Drift of class shares (PSI) {drifted.psi:.3f}; 95 % of independent sets lie below {drifted.limit:.3f}."
        )
    title = "chance: shuffled pairs" + ("" if ours.condition is None else " of the same condition")
    details: Details = {"low": found.low, "high": found.high, "reference": found.chance, "reference_title": title}
    details |= {"is_proxy": is_proxy, "detail": f"{pair.title}{detail}"}
    return measure(pair.measurement, found.value, found.n, note=" ".join(notes), **details)


def common_violations(evidence: Evidence, pairs: Sequence[Pair]) -> list[Figure]:
    """How often sample and variant are both invalid, compared with independence; nothing where no world decides it."""
    if evidence.judge.world is None:
        return []
    rows = []
    for pair in pairs:
        ours = evidence.samples.select(slice(0, pair.samples.num))
        is_bad, is_their_bad = (np.asarray(each.predictions.violation) != 0 for each in (ours, pair.samples))
        if not (is_bad | is_their_bad).any():
            continue
        condition, n = np.zeros(ours.num, np.int64) if ours.condition is None else ours.condition, ours.num
        groups = [condition == each for each in np.unique(condition)]
        expected = sum(is_bad[group].sum() * is_their_bad[group].mean() for group in groups)
        cells = [f"{MEASUREMENTS[pair.measurement].title}: {pair.title}"]
        for count in (int(each.sum()) for each in (is_bad, is_their_bad, is_bad & is_their_bad)):
            low, high = clopper_pearson(count, n)
            ends = f"{format_share(low).removesuffix(' %')} to {format_share(high)}"
            cells.append(f"{format_count_share(count / n, n, low, high)} ({ends})")
        rows.append([*cells, format_share(float(expected / n))])
    caption = (
        "Samples and their variants of the same noise that are invalid, each and both, with 95 % intervals; the share "
        "of both if they were independent given their condition. Both far more often than by chance: the noise decides "
        "which samples are violations, and disagreement does not detect them."
    )
    columns = ["variant", "invalid samples", "invalid variants", "both", "both by chance"]
    return [Table("paired_violations", "Violations of the same noise", caption, columns, rows)] if rows else []


def gallery(evidence: Evidence, pairs: Sequence[Pair]) -> list[Figure]:
    """The first samples of the model and of each variant."""
    picture = evidence.model.modality.picture
    if picture is None or not pairs:
        return []
    num = min(10, pairs[0].samples.num)
    groups = [picture(samples.values[:num]) for samples in (evidence.samples, *(pair.samples for pair in pairs))]
    titles = ["the model", *(pair.title for pair in pairs)]
    caption = "Each column has the same noise and the same condition; each row changes one thing."
    return [Gallery("paired_noise", "Samples of the same noise", caption, groups, [[] for _ in groups], titles)]


SimilarityInputs = Mapping[str, np.ndarray]
"""``shown`` int [N]: the value of each example, -1 for an invalid one. Or ``features`` [N, F], with ``radius`` [N]
within which two points are near, or without: then cosines are compared."""


def similarity_inputs(evidence: Evidence, examples: Examples) -> SimilarityInputs:
    """The arrays by which two examples of the same noise are compared."""
    world, predictions = evidence.judge.world, examples.predictions
    if world is not None and examples.condition is None:
        if world.num_modes > 1:
            return {"shown": examples.judged_class}
        if predictions.attributes and world.attributes:
            # Examples of a world of a single mode differ in the attributes that the mode leaves free.
            sizes = [len(values) + 1 for values in world.attributes.values()]
            values = [np.asarray(predictions.attributes[name]) + 1 for name in world.attributes]
            return {"shown": np.ravel_multi_index(values, sizes)}
    features = evidence.features(examples)
    if world is not None and examples.condition is not None and examples.modality.num_levels is None:
        # The mode of such a point is the condition, and the cosine of two offsets from its centre compares their
        # directions alone: on a line, a sign. The noise decides the place within the mode.
        return {"features": features, "radius": _radius(evidence, examples.condition)}
    return {"features": features}


def pair_similarity(ours: SimilarityInputs, theirs: SimilarityInputs, condition: np.ndarray | None) -> PairedAgreement:
    """How often samples and their variants are similar, compared with pairs that share only their condition."""
    if "shown" in ours and "shown" in theirs:
        return attribute_agreement(ours["shown"], theirs["shown"])
    features = [np.asarray(each["features"], np.float32) for each in (ours, theirs)]
    if "radius" in ours:
        return radius_agreement(features[0], features[1], ours["radius"], condition)
    return reproducibility(*without_class_means(features, condition), condition=condition)


def _description(evidence: Evidence, inputs: SimilarityInputs) -> tuple[str, str, bool]:
    """Additions to detail and note of a measurement, and whether it is by a learned encoder."""
    world = evidence.judge.world
    if "shown" in inputs and world is not None:
        same = "mode" if world.num_modes > 1 else " and ".join(world.attributes)
        return f", same {same}", f"Similar: of the same {same}, or both invalid", False
    if "radius" in inputs:
        return ", near", "Similar: nearer to each other than 9 of 10 pairs of real points of their mode", False
    return "", "Similar: features, less their class means, with a cosine above 0.6", True


def _radius(evidence: Evidence, condition: np.ndarray) -> np.ndarray:
    """For each sample, the distance within which a tenth of the pairs of real points of its mode lie."""
    features, modes = evidence.features(evidence.held_out), np.asarray(evidence.held_out.predictions.predicted)
    distances = {each: pdist(features[modes == each][:NUM_NEAR]) for each in np.unique(modes)}
    pooled = np.concatenate(list(distances.values()))
    if not len(pooled):
        raise UsageError("no two real examples are of one mode, so that it is not known which points are near")
    radii = {each: float(np.quantile(of, NEAR)) for each, of in distances.items() if len(of)}
    of_all = float(np.quantile(pooled, NEAR))
    return np.array([radii.get(each, of_all) for each in condition])


def without_class_means(sets: Sequence[np.ndarray], condition: np.ndarray | None) -> list[np.ndarray]:
    """Features less the mean of their condition over all sets: the part that the condition does not decide.

    Row i of all sets [N, F] has the same condition; None, or too few rows for each condition, is one mean of all.
    """
    index = np.zeros(len(sets[0]), np.int64) if condition is None else np.unique(condition, return_inverse=True)[1]
    if len(index) < MIN_PER_CLASS * (int(index.max()) + 1):
        # A mean of one or two pairs would remove the part that they have in common.
        index = np.zeros_like(index)
    total = np.zeros((int(index.max()) + 1, sets[0].shape[1]))
    for features in sets:
        np.add.at(total, index, features)
    means = total / (len(sets) * np.bincount(index)[:, None])
    return [features - means[index] for features in sets]
