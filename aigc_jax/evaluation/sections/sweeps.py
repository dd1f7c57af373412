"""The model under ranges of settings: violations by number of evaluations, precision and recall by guidance."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from aigc_jax.data.text import example_texts
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.model import Sweep, Variant
from aigc_jax.evaluation.section import NUM_DENSITY_NEIGHBORS, Evidence, Section
from aigc_jax.evaluation.sections.text import TextsFn, whole_words
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.knn_manifold import overlap
from aigc_jax.metrics.neighbors import manifold
from aigc_jax.metrics.text import distinct, repetition
from aigc_jax.report.figures import Lines, Series
from aigc_jax.types import UsageError

SWEEPS = ("sampler_sweep", "guidance_sweep", "truncation_sweep", "temperature_sweep", "top_p_sweep")
"""Names of the figures; the reason is given for those that a model lacks."""


def sweeps(evidence: Evidence) -> Section:
    """A figure per sweep: samples are drawn under every setting, and judged."""
    num, model = evidence.settings.num_swept, evidence.model
    reason = "this model has no such setting"
    if num <= NUM_DENSITY_NEIGHBORS:
        num, reason = 0, "pass --sweep-samples 200 for it"
    found = [sweep for sweep in model.sweeps if sweep.variants and num]
    names = {sweep.name for sweep in found}
    left_out = {name: model.left_out.get(name, reason) for name in SWEEPS if name not in names}
    figures = []
    for sweep in found:
        try:
            figures.append(_figure(evidence, sweep, num))
        except UsageError as error:
            left_out[sweep.name] = str(error)
    return Section(figures=figures, left_out=left_out)


def _figure(evidence: Evidence, sweep: Sweep, num: int) -> Lines:
    variants: list[Variant] = []
    drawn: list[Examples] = []
    for variant in sweep.variants:
        with contextlib.suppress(UsageError):  # a few large steps may diverge
            drawn.append(evidence.draw(variant.sample_fn, num, f"{variant.series} {variant.x:g}"))
            variants.append(variant)
    if not variants:
        raise UsageError("all its samples hold NaN or Inf")
    given, texts = (evidence, sweep, variants, drawn), evidence.model.modality.texts
    if sweep.is_rate:
        return _rates(*given)
    return _trade_off(*given) if texts is None else _text_trade_off(texts, *given)


def _rates(evidence: Evidence, sweep: Sweep, variants: Sequence[Variant], drawn: Sequence[Examples]) -> Lines:
    """Violation rates, a curve per series, with the floor."""
    is_wrong = [evidence.violates(examples) for examples in drawn]
    curves = []
    for series in dict.fromkeys(variant.series for variant in variants):
        chosen = [i for i, variant in enumerate(variants) if variant.series == series]
        curves.append(_shares(series, [variants[i].x for i in chosen], [is_wrong[i] for i in chosen]))
    floors = {"real held-out examples": float(evidence.violates(evidence.held_out).mean())}
    if any(variant.is_exact for variant in variants):
        floor = "The exact floor is the world's own denoiser in the same sampler: the rest is the network's error."
    else:
        floor = "An exact floor needs a world whose own denoiser is known; real examples approximate it."
    caption = f"Share of {evidence.violation_title}, with 95 % intervals, n = {drawn[0].num} each. {floor}"
    title, x_title = sweep.title, sweep.x_title
    return Lines(sweep.name, title, caption, x_title, "violations", curves, floors, is_log_x=True, is_share=True)


def _trade_off(evidence: Evidence, sweep: Sweep, variants: Sequence[Variant], drawn: Sequence[Examples]) -> Lines:
    """Precision, recall, density and coverage, and class agreement, against one setting."""
    n = min(drawn[0].num, evidence.train.num)
    reference = manifold(evidence.features(evidence.train)[:n], NUM_DENSITY_NEIGHBORS)
    found = [overlap(reference, evidence.features(examples)[:n]) for examples in drawn]
    x = [variant.x for variant in variants]
    curves = [_shares("precision", x, [each.is_inside for each in found])]
    for kind in ("recall", "density", "coverage"):
        curves.append(Series(kind, x, [getattr(each, kind) for each in found]))
    if drawn[0].condition is not None and drawn[0].predictions.predicted is not None:
        curves.append(_shares("class agreement", x, [each.is_right for each in drawn]))
    real = overlap(reference, evidence.features(evidence.held_out)[:n])
    caption = (
        f"n = {n} samples at each point, against as many training examples, in the features of "
        f"{evidence.judge.encoder_name}. Real held-out examples have precision {real.precision:.2f}, recall "
        f"{real.recall:.2f}, density {real.density:.2f} and coverage {real.coverage:.2f}."
    )
    return Lines(sweep.name, sweep.title, caption, sweep.x_title, "", curves)


def _text_trade_off(
    texts: TextsFn, evidence: Evidence, sweep: Sweep, variants: Sequence[Variant], drawn: Sequence[Examples]
) -> Lines:
    """Repetition, variety and bits of texts against one setting; their validity where it can be decided."""
    x, length = [variant.x for variant in variants], drawn[0].values.shape[1]
    words = [whole_words(texts, examples.values) for examples in drawn]
    curves = []
    with contextlib.suppress(UsageError):
        curves.append(_shares("valid samples", x, [~evidence.violates(examples) for examples in drawn]))
    curves.append(Series("repeated 4-grams", x, [float(repetition(each).mean()) for each in words]))
    curves.append(Series("distinct 2-grams", x, [distinct(each, 2) for each in words]))
    if evidence.model.token_nll is not None:
        bits = [_bits_per_token(evidence.model.token_nll, examples.values) for examples in drawn]
        curves.append(Series("bits per token", x, bits))
    held_out = whole_words(texts, example_texts(evidence.data.held_out, length, drawn[0].num, evidence.model.modality))
    caption = (
        f"n = {drawn[0].num} samples at each point; bits are those of the model itself, without the setting. "
        f"{len(held_out)} held-out texts have {repetition(held_out).mean():.3f} repeated 4-grams and "
        f"{distinct(held_out, 2):.2f} distinct 2-grams."
    )
    return Lines(sweep.name, sweep.title, caption, sweep.x_title, "", curves)


def _bits_per_token(token_nll: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> float:
    return float(token_nll(samples).sum() / max(int((samples[:, 1:] >= 0).sum()), 1) / math.log(2))


def _shares(name: str, x: Sequence[float], is_so: Sequence[np.ndarray]) -> Series:
    """A curve of shares of samples, with their exact intervals."""
    counts = [(int(each.sum()), len(each)) for each in is_so]
    ends = [clopper_pearson(*each) for each in counts]
    return Series(name, x, [count / n for count, n in counts], [low for low, _ in ends], [high for _, high in ends])
