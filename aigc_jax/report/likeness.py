"""By what two samples of the same noise are alike: what a world decides and no condition fixes, features elsewhere.

The report of a run and ``aigc-jax compare`` ask the same of two sets of samples; what is compared of each sample is
kept as arrays, so that it can be saved with the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from aigc_jax.metrics.consistency import PairedAgreement, attribute_agreement, closeness, reproducibility
from aigc_jax.report.condition import observed
from aigc_jax.report.examples import Examples
from aigc_jax.report.section import Evidence
from aigc_jax.types import UsageError

NEAR, NUM_NEAR = 0.1, 200
"""Share of the pairs of real points of a mode that count as near, and the most points that they are pairs of."""

MIN_PER_CLASS = 10
"""Pairs of a class from which its mean is taken."""

Traits = Mapping[str, np.ndarray]
"""``shown`` int [N]: what each example shows, invalid being a value of its own. Or ``features`` [N, F], with
``radius`` [N] within which two points are near, or without: then cosines are compared."""


class InWords(NamedTuple):
    """What is compared, for people.

    Attributes:
        title: to put behind the title of a measurement; "" for features.
        note: what the share is of.
        is_proxy: whether a learned encoder stands in for the truth.
    """

    title: str
    note: str
    is_proxy: bool


def traits_of(evidence: Evidence, examples: Examples) -> Traits:
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
            return {"shown": observed(examples)}
        if verdicts.attributes and world.attributes:
            # A world of a single mode is told by what its mode leaves free.
            sizes = [len(values) + 1 for values in world.attributes.values()]
            values = [np.asarray(verdicts.attributes[name]) + 1 for name in world.attributes]
            return {"shown": np.ravel_multi_index(values, sizes)}
    if world is not None and examples.values.ndim == 2 and examples.condition is not None:
        # The mode of such a point is what was asked for, and the cosine of two offsets from its middle compares their
        # directions alone: on a line, a sign. What is left of the noise is where in the mode a point lies.
        return {"features": verdicts.features, "radius": _radius(evidence, examples.condition)}
    return {"features": verdicts.features}


def likeness(ours: Traits, theirs: Traits, condition: np.ndarray | None) -> PairedAgreement:
    """How often samples and their counterparts are alike, beside pairs that share only their condition.

    Args:
        ours: what :func:`traits_of` gives of the samples.
        theirs: of their counterparts.
        condition: of both, int [N], or None.

    Returns:
        The agreement.

    >>> round(likeness({"shown": np.array([0, 1])}, {"shown": np.array([0, 1])}, None).excess, 3)
    1.0
    """
    if "shown" in ours and "shown" in theirs:
        return attribute_agreement(ours["shown"], theirs["shown"])
    features = [np.asarray(each["features"], np.float32) for each in (ours, theirs)]
    if "radius" in ours:
        return closeness(features[0], features[1], ours["radius"], condition)
    return reproducibility(*without_class_means(features, condition), condition=condition)


def in_words(evidence: Evidence, traits: Traits) -> InWords:
    """What :func:`likeness` compares.

    Args:
        evidence: knows the world.
        traits: as of :func:`traits_of`.

    Returns:
        The words.
    """
    world = evidence.judge.world
    if "shown" in traits and world is not None:
        same = "mode" if world.num_modes > 1 else " and ".join(world.attributes)
        note = f"Share of samples that show the same {same} as their counterpart of the same noise (invalid is a value)"
        return InWords(f", same {same}", note, False)
    if "radius" in traits:
        note = "Share of samples nearer to their counterpart of the same noise than 9 of 10 real pairs of their mode"
        return InWords(", near", note, False)
    note = (
        "Share of samples whose features are alike (cosine above 0.6, class means taken out) to those of their "
        "counterpart of the same noise"
    )
    return InWords("", note, True)


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
