"""The model under other settings: how often it errs by number of evaluations, what guidance or truncation trades."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from aigc_jax.evaluation.examples import Examples, draw
from aigc_jax.evaluation.model import Variant
from aigc_jax.evaluation.section import Evidence
from aigc_jax.evaluation.sections.condition import judged_class
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.precision_recall import overlap
from aigc_jax.report.figures import Figure, Lines, Series
from aigc_jax.types import UsageError

MIN_EXAMPLES = 5
"""Examples that are too few for nearest neighbours."""

_TITLES = {
    "sampler": ("Violations against the number of evaluations", "network evaluations per sample"),
    "guidance": ("What guidance trades", "guidance weight"),
    "truncation": ("What truncation trades", "truncation of the latent, in standard deviations"),
}
"""Heading and axis of each sweep."""


def sweeps(evidence: Evidence, num: int) -> tuple[list[Figure], dict[str, str]]:
    """Draw samples under every setting, and judge them.

    Args:
        evidence: what was looked at.
        num: samples per setting; 0 leaves the sweeps out.

    Returns:
        A figure per sweep, and why there is none of the others.
    """
    subject = evidence.subject
    names = [name for name in _TITLES if any(variant.sweep == name for variant in subject.variants)]
    reason = "this model has no such setting"
    if num <= MIN_EXAMPLES:
        num, reason = 0, "pass --sweep-samples 200 for it"
    left_out = {f"{name}_sweep": reason for name in _TITLES if name not in names or not num}
    left_out |= {name: why for name, why in subject.left_out.items() if name in left_out}
    if not num:
        return [], left_out
    figures = []
    for name in names:
        variants, drawn = _drawn(evidence, name, num)
        if not variants:
            left_out[f"{name}_sweep"] = "all its samples hold NaN or Inf"
            continue
        figures.append((_rates if name == "sampler" else _trade)(evidence, name, variants, drawn))
    return figures, left_out


def violates(evidence: Evidence, examples: Examples) -> np.ndarray:
    """Which examples are wrong: by the world, or by the classifier where a class was asked for, or off the data.

    Args:
        evidence: knows the judge and the training examples.
        examples: of whatever origin.

    Returns:
        bool [N].
    """
    if examples.verdicts.violation is not None:
        return examples.verdicts.violation != 0
    # What counts is what the model is asked for: held-out examples of an unconditional one have classes all the same.
    if evidence.subject.num_classes is not None and examples.condition is not None:
        return judged_class(examples) != examples.condition
    if min(examples.num, evidence.train.num) <= MIN_EXAMPLES:
        return np.zeros(examples.num, bool)  # too few for the reach of the data
    return ~overlap(evidence.train.verdicts.features, examples.verdicts.features).is_inside


def what_is_wrong(evidence: Evidence) -> str:
    """What :func:`violates` counts, in words."""
    if evidence.judge.world is not None:
        return f"samples that {evidence.judge.world.name} forbids"
    if evidence.subject.num_classes is not None:
        return f"samples in which {evidence.judge.name} sees another class (a proxy)"
    return "samples off the data in the features of " + evidence.judge.encoder_name


def _drawn(evidence: Evidence, name: str, num: int) -> tuple[list[Variant], list[Examples]]:
    """The points of a sweep whose samples are finite: a few large steps may go astray."""
    points, drawn = [], []
    for variant in evidence.subject.variants:
        if variant.sweep == name:
            with contextlib.suppress(UsageError):
                drawn.append(_draw(evidence, variant, num))
                points.append(variant)
    return points, drawn


def _draw(evidence: Evidence, variant: Variant, num: int) -> Examples:
    title = f"{variant.series} {variant.x:g}"
    return draw(
        variant.sample_fn,
        evidence.judge,
        num,
        num_classes=evidence.subject.num_classes,
        title=title,
        modality=evidence.subject.modality,
    )


def _rates(evidence: Evidence, name: str, variants: Sequence[Variant], drawn: Sequence[Examples]) -> Lines:
    """Violation rates by number of evaluations, a curve per sampler, with the floor."""
    title, x_title = _TITLES[name]
    counts = [int(violates(evidence, examples).sum()) for examples in drawn]
    curves = []
    for series in dict.fromkeys(variant.series for variant in variants):
        chosen = [i for i, variant in enumerate(variants) if variant.series == series]
        ends = [clopper_pearson(counts[i], drawn[i].num) for i in chosen]
        x = [variants[i].x for i in chosen]
        y = [counts[i] / drawn[i].num for i in chosen]
        curves.append(Series(series, x, y, [low for low, _ in ends], [high for _, high in ends]))
    floors = {"real held-out examples": float(violates(evidence, evidence.held_out).mean())}
    if not any(variant.is_ideal for variant in variants):
        ideal = " The exact floor needs a world whose own denoiser is known; real examples stand in its place."
    else:
        ideal = " The exact floor is the world's own denoiser through the same sampler: what is left is the network's."
    n = drawn[0].num
    caption = f"Share of {what_is_wrong(evidence)}, with 95 % intervals, n = {n} each.{ideal}"
    return Lines(f"{name}_sweep", title, caption, x_title, "violations", curves, floors, is_log_x=True, is_share=True)


def _trade(evidence: Evidence, name: str, variants: Sequence[Variant], drawn: Sequence[Examples]) -> Lines:
    """Precision, recall, density and coverage, and class agreement, against one setting."""
    title, x_title = _TITLES[name]
    n = min(drawn[0].num, evidence.train.num)
    reference = evidence.train.verdicts.features[:n]

    figures = [overlap(reference, examples.verdicts.features[:n]) for examples in drawn]
    x = [variant.x for variant in variants]
    curves = [_counted("precision", x, [figure.is_inside for figure in figures])]
    for kind in ("recall", "density", "coverage"):
        curves.append(Series(kind, x, [getattr(figure, kind) for figure in figures]))
    if drawn[0].condition is not None:
        curves.append(_counted("class agreement", x, [judged_class(each) == each.condition for each in drawn]))
    held_out = overlap(reference, evidence.held_out.verdicts.features[:n])
    caption = (
        f"n = {n} samples at each point, against as many training examples, in the features of "
        f"{evidence.judge.encoder_name}. Real held-out examples reach precision {held_out.precision:.2f}, recall "
        f"{held_out.recall:.2f}, density {held_out.density:.2f} and coverage {held_out.coverage:.2f} there."
    )
    return Lines(f"{name}_sweep", title, caption, x_title, "", curves)


def _counted(name: str, x: Sequence[float], is_so: Sequence[np.ndarray]) -> Series:
    """A curve of shares of samples, with their exact intervals."""
    counts = [(int(each.sum()), len(each)) for each in is_so]
    ends = [clopper_pearson(*each) for each in counts]
    return Series(name, x, [count / n for count, n in counts], [low for low, _ in ends], [high for _, high in ends])
