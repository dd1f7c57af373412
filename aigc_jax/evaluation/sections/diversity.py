"""Coverage of the data by the samples, distances of their distributions, and shares of classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.examples import Examples, match_class_counts
from aigc_jax.evaluation.section import Evidence, Section
from aigc_jax.metrics.differences import mean_difference, mean_ends, total_variation
from aigc_jax.metrics.frechet import frechet_distance, frechet_infinity
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.kernel_distance import cmmd, kid
from aigc_jax.metrics.path_length import path_length
from aigc_jax.metrics.scores import inception_score
from aigc_jax.metrics.vendi import vendi_score
from aigc_jax.report.figures import Bar, Bars, Figure
from aigc_jax.report.measurements import Details, Measurement, measure
from aigc_jax.types import UsageError

NUM_SUBSETS, NUM_PATHS = 20, 128
"""Subsets of the kernel distance, a fifth of the paper's: the mean hardly moves. Paths between latents."""

_REAL = "real held-out examples"
_REAL_AGAINST_REAL = "real against real (training, which the classifier knows, against held-out examples)"


def diversity(evidence: Evidence) -> Section:
    """How much of the data the samples cover, and how near their distribution is to that of the data."""
    samples, held_out = match_class_counts(evidence.distinct, evidence.held_out, is_equal=True)
    measurements: list[Measurement] = []
    checks: list[Comparison] = []
    left_out: dict[str, str] = {}
    try:
        rows, comparisons = _coverage(evidence)
        measurements += rows
        checks += comparisons
    except UsageError as error:
        left_out |= dict.fromkeys(("coverage", "manifold_recall", "density"), str(error))
    others: dict[str, Callable[[], Measurement]] = {
        "frechet_distance": lambda: _distance("frechet_distance", frechet_distance, evidence, samples, held_out),
        "frechet_infinity": lambda: _distance("frechet_infinity", frechet_infinity, evidence, samples, held_out),
        "kernel_distance": lambda: _distance("kernel_distance", _kid, evidence, samples, held_out),
        "cmmd": lambda: _distance("cmmd", cmmd, evidence, samples, held_out),
        "inception_score": lambda: _inception_score(evidence, samples, held_out),
        "vendi_score": lambda: _vendi(evidence, samples, held_out),
        "modes_covered": lambda: _modes(evidence),
        "log_prob": lambda: _log_prob(samples, held_out),
        "path_length": lambda: _path_length(evidence),
    }
    for name, measure_fn in others.items():
        try:
            measurements.append(measure_fn())
        except UsageError as error:
            left_out[name] = str(error)
    figures: list[Figure] = []
    if samples.condition is None and samples.predictions.predicted is not None:
        predicted = [np.asarray(each.predictions.predicted) for each in (samples, held_out)]
        num_classes = 1 + int(max(each.max() for each in predicted))
        counts, real_counts = (np.bincount(each, minlength=num_classes) for each in predicted)
        figures.append(_class_shares(evidence, counts, real_counts))
        checks.append(Comparison("class_shares", total_variation(predicted[0], predicted[1])))
    headline = measurements[0].name if measurements else ""
    return Section("diverse", measurements, checks, figures, left_out, headline)


def _coverage(evidence: Evidence) -> tuple[list[Measurement], list[Comparison]]:
    """Coverage, recall and density of blocks of samples, and these and the Fréchet distance compared with real ones."""
    ours, real = evidence.blocks
    rows = []
    for side, words in ((ours, "samples: draw"), (real, "held-out examples of the samples' classes: hold out")):
        if not len(side["coverage"]):
            raise UsageError(f"blocks of {BLOCK} are compared, and there is not one of {words} more")
    for name, measurement in {"coverage": "coverage", "recall": "manifold_recall", "density": "density"}.items():
        values, n = ours[name], BLOCK * len(ours[name])
        details: Details = {}
        if len(values) > 1:
            low, _, high = mean_ends(values, 0.025, len(values))
            details |= {"low": max(low, 0.0), "high": high if name == "density" else min(high, 1.0)}
        details |= {"reference": float(real[name].mean()), "reference_title": "as many real held-out examples"}
        details["is_proxy"] = evidence.judge.world is None
        rows.append(measure(measurement, float(values.mean()), n, **details))
    # Each as a quantity that is worse where larger: one that cannot be negative, but for the density.
    scales = {"coverage": -1.0, "recall": -1.0, "density": -1.0 / max(float(real["density"].mean()), 1e-12)}
    scales["frechet_distance"] = 1.0 / max(evidence.block_reference.variance, 1e-30)
    comparisons = []
    for name, scale in scales.items():
        offset = 1.0 if scale < 0 else 0.0
        sides = [offset + scale * side[name] for side in (ours, real)]
        difference = mean_difference(sides[0], sides[1], BLOCK, is_positive=name != "density")
        comparisons.append(Comparison(name, difference))
    return rows, comparisons


def _distance(
    name: str,
    distance: Callable[[np.ndarray, np.ndarray], float],
    evidence: Evidence,
    samples: Examples,
    held_out: Examples,
) -> Measurement:
    """A distance of the features of samples and held-out examples, and that of training and held-out examples."""
    n = min(samples.num, held_out.num, evidence.train.num)
    ours, real, train = (evidence.features(each)[:n] for each in (samples, held_out, evidence.train))
    details: Details = {"reference": distance(real, train), "reference_title": _REAL_AGAINST_REAL}
    details |= {"is_proxy": True, "detail": evidence.judge.encoder_name}
    return measure(name, distance(real, ours), n, **details)


def _kid(real: np.ndarray, fake: np.ndarray) -> float:
    n = len(real)
    if n < 4:
        raise UsageError(f"a kernel distance needs at least 4 samples, got {n}: ask for more samples")
    # Subsets of half of the examples at most: drawn from all they would be one and the same.
    return kid(real, fake, num_subsets=NUM_SUBSETS, subset_size=min(1000, n // 2)).value


def _inception_score(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    logits, real_logits = samples.predictions.logits, held_out.predictions.logits
    if logits is None or real_logits is None:
        raise UsageError(evidence.judge.why_none or f"{evidence.judge.name} gives no probabilities of classes")
    n = min(samples.num, held_out.num)
    ours, real = (inception_score(each[:n]).unsplit for each in (logits, real_logits))
    return measure("inception_score", ours, n, reference=real, reference_title=_REAL, is_proxy=True)


def _vendi(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    n = min(samples.num, held_out.num)
    centre = evidence.features(evidence.train).mean(axis=0)
    ours, real = (vendi_score(evidence.features(each)[:n] - centre) for each in (samples, held_out))
    return measure("vendi_score", ours, n, reference=real, reference_title=_REAL, is_proxy=True)


def _modes(evidence: Evidence) -> Measurement:
    world, samples = evidence.judge.world, evidence.samples
    if world is None:
        raise UsageError("only a synthetic data set has modes that can be counted")
    counts = np.bincount(samples.judged_class + 1, minlength=world.num_modes + 1)[1:]
    # An unconditional model cannot make modes that do not occur in its data.
    is_shown = np.ones(world.num_modes, bool)
    is_shown[list(world.withheld)] = samples.condition is not None
    real = np.bincount(np.asarray(evidence.held_out.predictions.predicted), minlength=world.num_modes)
    covered, reference = (float(np.mean(each[is_shown] > 0)) for each in (counts, real))
    title = f"{evidence.held_out.num} real held-out examples"
    return measure("modes_covered", covered, samples.num, reference=reference, reference_title=title)


def _log_prob(samples: Examples, held_out: Examples) -> Measurement:
    ours, real = samples.predictions.log_prob, held_out.predictions.log_prob
    if ours is None or real is None:
        raise UsageError("the data have no known density")
    # In float64: a few samples far away have a density of e^-10000.
    value, reference = (float(np.mean(each, dtype=np.float64)) for each in (ours, real))
    finite = reference if np.isfinite(reference) else None
    return measure("log_prob", value, samples.num, reference=finite, reference_title=_REAL)


def _path_length(evidence: Evidence) -> Measurement:
    if evidence.model.path_lengths is None:
        reason = "the model does not start from a single latent"
        raise UsageError(evidence.model.left_out.get("path_length", reason))
    speeds = evidence.model.path_lengths(min(evidence.samples.num, NUM_PATHS))
    return measure("path_length", path_length(speeds), len(speeds), is_proxy=True)


def _class_shares(evidence: Evidence, counts: np.ndarray, real_counts: np.ndarray) -> Figure:
    """Shares of the predicted classes among the samples of an unconditional model."""
    n = int(counts.sum())
    bars = [
        Bar(evidence.class_name(index), count / n, *clopper_pearson(count, n), n, real_count / real_counts.sum())
        for index, (count, real_count) in enumerate(zip(counts.tolist(), real_counts.tolist(), strict=True))
    ]
    caption = "Share of all samples that are predicted to be of each class; far below its real share: neglected."
    return Bars("class_shares", "Classes among the samples", caption, bars, _REAL)
