"""Samples and their counterparts of the same noise: of another model (C2), an earlier checkpoint (C3), changed (C4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from aigc_jax.evaluation.examples import Examples, draw
from aigc_jax.evaluation.model import PairedVariant
from aigc_jax.evaluation.section import Evidence, proportion
from aigc_jax.evaluation.sections.condition import judged_class
from aigc_jax.evaluation.significance import mantel_haenszel_test
from aigc_jax.metrics.consistency import (
    PairedAgreement,
    attribute_agreement,
    drift,
    radius_agreement,
    reproducibility,
    sensitivity,
)
from aigc_jax.report.figures import Figure, Gallery, Table
from aigc_jax.report.formatting import format_interval, format_p, format_share, format_value
from aigc_jax.report.schema import Measurement
from aigc_jax.types import UsageError

NUM_PAIRED = 256
"""Samples that are drawn anew from each counterpart."""

TITLES = {
    "model_consistency": "C2, across models",
    "checkpoint_consistency": "C3, across checkpoints",
    "perturbation": "C4, a latent moved a little",
    "step_consistency": "C4, twice the steps",
    "half_precision": "C4, weights in half precision",
}
"""Of the measurements of pairs."""


class Pair(NamedTuple):
    """Samples and their counterparts.

    Attributes:
        measurement: what they are measured for.
        title: what was changed.
        samples: the counterparts.
    """

    measurement: str
    title: str
    samples: Examples


def draw_pair(evidence: Evidence, paired_variant: PairedVariant) -> Pair:
    """The counterparts of the first samples.

    Args:
        evidence: what was looked at.
        paired_variant: the model with one thing changed.

    Returns:
        The pair.

    Raises:
        UsageError: the counterpart cannot be drawn.
    """
    num = min(NUM_PAIRED, evidence.samples.num)
    drawn = draw(
        paired_variant.sample_fn,
        evidence.judge,
        num,
        num_classes=evidence.subject.num_classes,
        modality=evidence.subject.modality,
        title=paired_variant.title,
    )
    return Pair(paired_variant.measurement, paired_variant.title, drawn)


def agreement(evidence: Evidence, pair: Pair) -> Measurement:
    """How often a sample and its counterpart are alike, beside pairs that share only their condition.

    Args:
        evidence: what was looked at.
        pair: the counterparts.

    Returns:
        The measurement.

    Raises:
        UsageError: no two samples have one condition.
    """
    ours = evidence.samples.select(slice(0, pair.samples.num))
    traits, theirs = (similarity_inputs(evidence, each) for each in (ours, pair.samples))
    result, words = pair_similarity(traits, theirs, ours.condition), describe_similarity(evidence, traits)
    if np.isnan(result.chance):
        raise UsageError("no two samples have one condition, so that chance cannot be told: ask for more samples")
    values = ours.loaded()
    change = sensitivity(values, pair.samples.loaded(), values)
    return Measurement(
        pair.measurement,
        f"{TITLES[pair.measurement]}: {pair.title}{words.title}",
        result.value,
        result.n,
        "share",
        f"{words.note}; {result.excess:.1%} beyond chance ({result.excess_low:.1%} to {result.excess_high:.1%}); "
        f"median change relative to the sample {change.median:.2g}, 95 % of samples below {change.quantile_95:.2g}."
        f"{_drift(ours, pair)}",
        result.low,
        result.high,
        reference=result.chance,
        reference_title="chance: shuffled pairs" + ("" if ours.condition is None else " of the same condition"),
        is_proxy=words.is_proxy,
    )


def _drift(ours: Examples, pair: Pair) -> str:
    """Whether the classes are seen in other shares than at the earlier checkpoint."""
    classes, earlier = ours.verdicts.predicted, pair.samples.verdicts.predicted
    if pair.measurement != "checkpoint_consistency" or classes is None or earlier is None:
        return ""
    num_values = 1 + int(max(classes.max(), earlier.max()))
    found = drift(*(np.bincount(each, minlength=num_values) for each in (earlier, classes)))
    return (
        f" Drift of the class shares (PSI) {found.psi:.3f}; 95 times in 100 chance alone would stay below "
        f"{found.limit:.3f}, were the noises not shared."
    )


def violations(evidence: Evidence, pairs: Sequence[Pair]) -> list[Figure]:
    """How often sample and counterpart are both invalid, beside what independent ones would be.

    Args:
        evidence: what was looked at.
        pairs: all counterparts.

    Returns:
        A table, or nothing where nothing is invalid, or no world says so.
    """
    if evidence.judge.world is None:
        return []
    rows = [row for pair in pairs if (row := _both(evidence.samples.select(slice(0, pair.samples.num)), pair))]
    caption = (
        "Samples and their counterparts of the same noise that are invalid, each and both, with 95 % intervals; beside "
        "it how often both would be, were they independent given their condition, and the probability of as many then. "
        "Both far more often than by chance: the noise decides what is hallucinated, and disagreement does not tell it."
    )
    columns = ["counterpart", "invalid samples", "invalid counterparts", "both", "both by chance", "p"]
    return [Table("paired_violations", "Invalid of the same noise", caption, columns, rows)] if rows else []


def _both(ours: Examples, pair: Pair) -> list[str]:
    """A row of the table; [] where nothing is invalid."""
    is_bad, is_their_bad = (np.asarray(each.verdicts.violation) != 0 for each in (ours, pair.samples))
    if not (is_bad | is_their_bad).any():
        return []
    n, condition = len(is_bad), np.zeros(len(is_bad), np.int64) if ours.condition is None else ours.condition
    groups = [condition == each for each in np.unique(condition)]
    expected = sum(is_bad[group].sum() * is_their_bad[group].mean() for group in groups)
    p_value = 1.0
    if 0 < is_bad.sum() < n:
        sides = [(is_their_bad[chosen], condition[chosen]) for chosen in (is_bad, ~is_bad)]
        p_value = mantel_haenszel_test("", sides[0], sides[1]).p_value or 0.0
    counted = [
        proportion("", "", count=int(each.sum()), n=n, note="")
        for each in (is_bad, is_their_bad, is_bad & is_their_bad)
    ]
    cells = [f"{format_value(row)} ({format_interval(row)})" for row in counted]
    return [f"{TITLES[pair.measurement]}: {pair.title}", *cells, format_share(float(expected / n)), format_p(p_value)]


def strip(evidence: Evidence, pairs: Sequence[Pair]) -> list[Figure]:
    """The first samples above their counterparts.

    Args:
        evidence: what was looked at.
        pairs: all counterparts.

    Returns:
        A gallery; nothing where there is no pair of images.
    """
    picture = evidence.subject.modality.picture
    if picture is None or not pairs:
        return []
    num = min(10, pairs[0].samples.num)
    groups = [picture(samples.values[:num]) for samples in (evidence.samples, *(pair.samples for pair in pairs))]
    titles = ["the model", *(pair.title for pair in pairs)]
    caption = "Each column is made of the same noise and the same condition, with one thing changed from row to row."
    return [Gallery("paired_noise", "The same noise, otherwise", caption, groups, [[] for _ in groups], titles)]


NEAR, NUM_NEAR = 0.1, 200
"""Share of the pairs of real points of a mode that count as near, and the most points that they are pairs of."""

MIN_PER_CLASS = 10
"""Pairs of a class from which its mean is taken."""

SimilarityInputs = Mapping[str, np.ndarray]
"""``shown`` int [N]: what each example shows, invalid being a value of its own. Or ``features`` [N, F], with
``radius`` [N] within which two points are near, or without: then cosines are compared."""


class SimilarityDescription(NamedTuple):
    """What is compared, for people.

    Attributes:
        title: to put behind the title of a measurement; "" for features.
        note: what the share is of.
        is_proxy: whether a learned encoder stands in for the truth.
    """

    title: str
    note: str
    is_proxy: bool


def similarity_inputs(evidence: Evidence, examples: Examples) -> SimilarityInputs:
    """What of each example is compared with its counterpart.

    Args:
        evidence: knows the judge and the real examples.
        examples: samples or their counterparts.

    Returns:
        The arrays.
    """
    world, verdicts = evidence.judge.world, examples.verdicts
    if world is not None and examples.condition is None:
        if world.num_modes > 1:
            return {"shown": judged_class(examples)}
        if verdicts.attributes and world.attributes:
            # A world of a single mode is told by what its mode leaves free.
            sizes = [len(values) + 1 for values in world.attributes.values()]
            values = [np.asarray(verdicts.attributes[name]) + 1 for name in world.attributes]
            return {"shown": np.ravel_multi_index(values, sizes)}
    if world is not None and examples.modality.picture is None and examples.condition is not None:
        # The mode of such a point is what was asked for, and the cosine of two offsets from its middle compares their
        # directions alone: on a line, a sign. What is left of the noise is where in the mode a point lies.
        return {"features": verdicts.features, "radius": _radius(evidence, examples.condition)}
    return {"features": verdicts.features}


def pair_similarity(ours: SimilarityInputs, theirs: SimilarityInputs, condition: np.ndarray | None) -> PairedAgreement:
    """How often samples and their counterparts are alike, beside pairs that share only their condition.

    Args:
        ours: what :func:`similarity_inputs` gives of the samples.
        theirs: of their counterparts.
        condition: of both, int [N], or None.

    Returns:
        The agreement.

    >>> round(pair_similarity({"shown": np.array([0, 1])}, {"shown": np.array([0, 1])}, None).excess, 3)
    1.0
    """
    if "shown" in ours and "shown" in theirs:
        return attribute_agreement(ours["shown"], theirs["shown"])
    features = [np.asarray(each["features"], np.float32) for each in (ours, theirs)]
    if "radius" in ours:
        return radius_agreement(features[0], features[1], ours["radius"], condition)
    return reproducibility(*without_class_means(features, condition), condition=condition)


def describe_similarity(evidence: Evidence, traits: SimilarityInputs) -> SimilarityDescription:
    """What :func:`likeness` compares.

    Args:
        evidence: knows the world.
        traits: as of :func:`similarity_inputs`.

    Returns:
        The words.
    """
    world = evidence.judge.world
    if "shown" in traits and world is not None:
        same = "mode" if world.num_modes > 1 else " and ".join(world.attributes)
        note = f"Share of samples that show the same {same} as their counterpart of the same noise (invalid is a value)"
        return SimilarityDescription(f", same {same}", note, False)
    if "radius" in traits:
        note = "Share of samples nearer to their counterpart of the same noise than 9 of 10 real pairs of their mode"
        return SimilarityDescription(", near", note, False)
    note = (
        "Share of samples whose features are alike (cosine above 0.6, class means taken out) to those of their "
        "counterpart of the same noise"
    )
    return SimilarityDescription("", note, True)


def _radius(evidence: Evidence, condition: np.ndarray) -> np.ndarray:
    """For each sample, the distance within which a tenth of the pairs of real points of its mode lie."""
    features, modes = evidence.held_out.verdicts.features, np.asarray(evidence.held_out.verdicts.predicted)
    distances = {each: pdist(features[modes == each][:NUM_NEAR]) for each in np.unique(modes)}
    pooled = np.concatenate(list(distances.values()))
    if not len(pooled):
        raise UsageError("no two real examples are of one mode, so that it cannot be told what is near")
    radii = {each: float(np.quantile(of if len(of) else pooled, NEAR)) for each, of in distances.items()}
    return np.array([radii.get(each, float(np.quantile(pooled, NEAR))) for each in condition])


def without_class_means(sets: Sequence[np.ndarray], condition: np.ndarray | None) -> list[np.ndarray]:
    """Features less the mean of their condition over all sets: what is left is what the condition does not say.

    Args:
        sets: features [N, F], row i of each of the same condition.
        condition: of each row, int [N]; None for one mean of all, as where a condition has hardly any rows.

    Returns:
        The differences, in the order of ``sets``.

    >>> without_class_means([np.array([[1.0], [5.0]]), np.array([[3.0], [7.0]])], None)
    [array([[-3.],
           [ 1.]]), array([[-1.],
           [ 3.]])]
    """
    index = np.zeros(len(sets[0]), np.int64) if condition is None else np.unique(condition, return_inverse=True)[1]
    if len(index) < MIN_PER_CLASS * (int(index.max()) + 1):
        # A mean of one or two pairs would take away what they have in common.
        index = np.zeros_like(index)
    total = np.zeros((int(index.max()) + 1, sets[0].shape[1]))
    for features in sets:
        np.add.at(total, index, features)
    means = total / (len(sets) * np.bincount(index)[:, None])
    return [features - means[index] for features in sets]
