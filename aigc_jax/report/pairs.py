"""Samples and their counterparts of the same noise: of another model (C2), an earlier checkpoint (C3), changed (C4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aigc_jax.data.images import to_uint8
from aigc_jax.metrics.consistency import drift, sensitivity
from aigc_jax.report.examples import Examples, draw
from aigc_jax.report.figures import Figure, Gallery, Table
from aigc_jax.report.lamps import more_often_in_strata
from aigc_jax.report.likeness import in_words, likeness, traits_of
from aigc_jax.report.report import Measurement
from aigc_jax.report.section import Evidence, share
from aigc_jax.report.subject import Counterpart
from aigc_jax.report.wording import format_interval, format_p, format_share, format_value
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


def draw_pair(evidence: Evidence, counterpart: Counterpart) -> Pair:
    """The counterparts of the first samples.

    Args:
        evidence: what was looked at.
        counterpart: the model with one thing changed.

    Returns:
        The pair.

    Raises:
        UsageError: the counterpart cannot be drawn.
    """
    num = min(NUM_PAIRED, evidence.samples.num)
    drawn = draw(
        counterpart.sample_fn,
        evidence.judge,
        num,
        num_classes=evidence.subject.num_classes,
        title=counterpart.title,
    )
    return Pair(counterpart.measurement, counterpart.title, drawn)


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
    traits, theirs = (traits_of(evidence, each) for each in (ours, pair.samples))
    result, words = likeness(traits, theirs, ours.condition), in_words(evidence, traits)
    if np.isnan(result.chance):
        raise UsageError("no two samples have one condition, so that chance cannot be told: ask for more samples")
    values = ours.floats()
    change = sensitivity(values, pair.samples.floats(), values)
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
        p_value = more_often_in_strata("", sides[0], sides[1]).p_value or 0.0
    counted = [
        share("", "", count=int(each.sum()), n=n, note="") for each in (is_bad, is_their_bad, is_bad & is_their_bad)
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
    if evidence.samples.values.dtype != np.uint8 or not pairs:
        return []
    num = min(10, pairs[0].samples.num)
    groups = [evidence.samples.values[:num], *(pair.samples.values[:num] for pair in pairs)]
    groups = [to_uint8(group) if group.dtype != np.uint8 else group for group in groups]
    titles = ["the model", *(pair.title for pair in pairs)]
    caption = "Each column is made of the same noise and the same condition, with one thing changed from row to row."
    return [Gallery("paired_noise", "The same noise, otherwise", caption, groups, [[] for _ in groups], titles)]
