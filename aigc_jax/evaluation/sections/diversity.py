"""Do samples cover the data, in the right shares? Coverage, recall, distances of distributions, class shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.evaluation.sections.condition import judged_class
from aigc_jax.evaluation.significance import homogeneity_test
from aigc_jax.metrics.frechet import fd, frechet_infinity
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.kernel_distance import cmmd, kid
from aigc_jax.metrics.path_length import path_length
from aigc_jax.metrics.permutation_tests import coverage_test
from aigc_jax.metrics.precision_recall import Overlap, expected_coverage
from aigc_jax.metrics.scores import inception_score
from aigc_jax.metrics.vendi import vendi_score
from aigc_jax.report.figures import Bar, Bars, Figure
from aigc_jax.report.schema import Check, Measurement
from aigc_jax.types import UsageError

NUM_SUBSETS, NUM_PATHS = 20, 128
"""Subsets of the kernel distance, a fifth of the paper's: the mean hardly moves. Paths between latents."""

_REAL = "real against real (training, which the classifier knows, against held-out examples)"
_NOTES = {
    "coverage": "Share of training examples with a sample within the distance to their 5th neighbour: what part of the "
    "data is reached. Held-out examples, as many, do not reach 100 % either.",
    "manifold_recall": "Share of training examples that lie within the balls around samples to their nearest "
    "neighbours (improved recall).",
    "density": "Mean number of training balls, over k, that a sample lies in; 1 for samples of the data's own law.",
    "frechet_distance": "Distance between the features of samples and of held-out examples, lower is nearer. It "
    "shrinks as n grows, so compare it with real against real at the same n only, and with no other encoder's figure.",
    "frechet_infinity": "The Fréchet distance that infinitely many examples would give, by a line over 1 / n: the bias "
    "is taken out, at the price of more spread; slightly below 0 is possible.",
    "kernel_distance": "Squared kernel distance (unbiased, cubic kernel) of the same features; it may fall below 0 by "
    "chance, and does where both sets have equally many of each class: read it beside real against real.",
    "cmmd": "1000 times the squared kernel distance (Gaussian kernel, sigma 10) of the features at length 1; it "
    "shrinks as n grows.",
    "inception_score": "exp of the mean divergence of the classifier's word on a sample from its word on all; it says "
    "nothing about the data.",
    "vendi_score": "Effective number of different samples, by the cosine of their features; beside it as many real "
    "examples.",
    "modes_covered": "Share of the world's modes that at least one valid sample is of.",
    "log_prob": "Mean log density of samples in the world. Below real: samples are too far out; above: too near the "
    "middles of modes.",
    "path_length": "Squared speed in the classifier's features along paths between latents, mean without the outer "
    "1 %: the smoother the model, the less.",
}


def diversity(evidence: Evidence, seen: Overlap | None, by_real: Overlap | None) -> Section:
    """How much of the data samples reach, and how near their law is to the data's.

    Args:
        evidence: what was looked at, with samples and held-out examples of the same classes.
        seen: training examples among as many distinct samples as ``by_real`` has held-out ones; None for too few.
        by_real: training examples among held-out examples.

    Returns:
        The section.
    """
    samples, held_out = evidence.samples, evidence.held_out
    measurements: list[Measurement] = []
    checks: list[Check] = []
    left_out: dict[str, str] = {}
    if seen is None or by_real is None:
        reason = "too few examples for nearest neighbours: ask for more samples"
        left_out |= dict.fromkeys(("coverage", "manifold_recall", "density"), reason)
    else:
        measurements += _reached(seen, by_real, evidence.judge.world is None)
        checks.append(_coverage(evidence, samples, held_out))
    distances: dict[str, Callable[[], Measurement]] = {
        "frechet_distance": lambda: _frechet(evidence, samples, held_out),
        "frechet_infinity": lambda: _infinity(evidence, samples, held_out),
        "kernel_distance": lambda: _kernel(evidence, samples, held_out),
        "cmmd": lambda: _cmmd(evidence, samples, held_out),
        "inception_score": lambda: _inception(samples, held_out),
        "vendi_score": lambda: _vendi(evidence, samples, held_out),
        "modes_covered": lambda: _modes(evidence),
        "log_prob": lambda: _log_prob(samples, held_out),
        "path_length": lambda: _path_length(evidence),
    }
    for name, measure in distances.items():
        try:
            measurements.append(measure())
        except UsageError as error:
            left_out[name] = str(error)
    figures: list[Figure] = []
    if samples.condition is None and samples.verdicts.predicted is not None:
        figures.append(_shares(evidence, samples, held_out))
        checks.append(homogeneity_test("shares of the classes", *_class_counts(samples, held_out)))
    headline = measurements[0].name if measurements else ""
    return Section(measurements, checks, figures, left_out, headline)


def _reached(seen: Overlap, by_real: Overlap, is_proxy: bool) -> list[Measurement]:
    shared = {"reference_title": "as many real held-out examples", "is_proxy": is_proxy}
    expected = expected_coverage(len(seen.is_covered), len(seen.is_inside), seen.density_k)
    notes = {**_NOTES, "coverage": f"{_NOTES['coverage']} Samples of one and the same law reach {expected:.1%}."}
    rows = [
        proportion(name, title, count=int(reached.sum()), n=len(reached), note=notes[name])._replace(
            reference=float(by.mean()), **shared
        )
        for name, title, reached, by in (
            ("coverage", "coverage", seen.is_covered, by_real.is_covered),
            ("manifold_recall", "recall", seen.is_recalled, by_real.is_recalled),
        )
    ]
    n = len(seen.is_inside)
    density = Measurement("density", "density", seen.density, n, "score", _NOTES["density"], reference=by_real.density)
    return [*rows, density._replace(**shared)]


def _coverage(evidence: Evidence, samples: Examples, held_out: Examples) -> Check:
    """Training examples with a sample near, beside as many held-out examples."""
    n = _equal(samples, held_out)
    ours, real = (each.verdicts.features[:n] for each in (samples, held_out))
    found = coverage_test(evidence.train.verdicts.features, ours, real)
    return Check("training examples with a sample near", found.coverage, found.reference, found.p_value, False)


def _equal(*sets: Examples) -> int:
    return min(each.num for each in sets)


def _frechet(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    n = _equal(samples, held_out, evidence.train)
    ours, real, train = (each.verdicts.features[:n] for each in (samples, held_out, evidence.train))
    return Measurement(
        name="frechet_distance",
        title=f"FD[{evidence.judge.encoder_name}]",
        value=fd(ours, real),
        n=n,
        unit="distance",
        note=_NOTES["frechet_distance"],
        reference=fd(train, real),
        reference_title=_REAL,
        is_proxy=True,
        lower_is_better=True,
    )


def _kernel(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    n = _equal(samples, held_out, evidence.train)
    if n < 4:
        raise UsageError(f"a kernel distance needs at least 4 samples, got {n}: ask for more samples")
    ours, real, train = (each.verdicts.features[:n] for each in (samples, held_out, evidence.train))
    # Subsets of half of the examples at most: drawn from all they would be one and the same.
    between, among_real = (
        kid(real, each, num_subsets=NUM_SUBSETS, subset_size=min(1000, n // 2)) for each in (ours, train)
    )
    return Measurement(
        name="kernel_distance",
        title=f"KID[{evidence.judge.encoder_name}]",
        value=between.value,
        n=n,
        unit="distance",
        note=_NOTES["kernel_distance"],
        reference=among_real.value,
        reference_title=_REAL,
        is_proxy=True,
        lower_is_better=True,
    )


def _cmmd(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    n = _equal(samples, held_out, evidence.train)
    ours, real, train = (each.verdicts.features[:n] for each in (samples, held_out, evidence.train))
    return Measurement(
        name="cmmd",
        title=f"CMMD[{evidence.judge.encoder_name}]",
        value=cmmd(real, ours),
        n=n,
        unit="distance",
        note=_NOTES["cmmd"],
        reference=cmmd(real, train),
        reference_title=_REAL,
        is_proxy=True,
        lower_is_better=True,
    )


def _inception(samples: Examples, held_out: Examples) -> Measurement:
    logits, real_logits = samples.verdicts.logits, held_out.verdicts.logits
    if logits is None or real_logits is None:
        raise UsageError("the judge gives no probabilities of classes")
    n = _equal(samples, held_out)
    ours, real = (inception_score(each[:n]) for each in (logits, real_logits))
    return Measurement(
        name="inception_score",
        title="inception-style score",
        value=ours.unsplit,
        n=n,
        unit="score",
        note=_NOTES["inception_score"],
        reference=real.unsplit,
        reference_title="real held-out examples",
        is_proxy=True,
    )


def _vendi(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    n = _equal(samples, held_out)
    centre = evidence.train.verdicts.features.mean(axis=0)
    ours, real = (vendi_score(each.verdicts.features[:n] - centre) for each in (samples, held_out))
    return Measurement("vendi_score", "Vendi score", ours, n, "score", _NOTES["vendi_score"], reference=real)._replace(
        reference_title="real held-out examples", is_proxy=True
    )


def _modes(evidence: Evidence) -> Measurement:
    world, samples = evidence.judge.world, evidence.samples
    if world is None:
        raise UsageError("only a world has modes that can be counted")
    counts = np.bincount(judged_class(samples) + 1, minlength=world.num_modes + 1)[1:]
    # An unconditional model cannot know what its data never showed.
    is_shown = np.ones(world.num_modes, bool)
    is_shown[list(world.withheld)] = samples.condition is not None
    real = np.bincount(np.asarray(evidence.held_out.verdicts.predicted), minlength=world.num_modes)
    note, reached = _NOTES["modes_covered"], float(np.mean(counts[is_shown] > 0))
    row = Measurement("modes_covered", "modes covered", reached, samples.num, "share", note)
    title = f"{evidence.held_out.num} real held-out examples"
    return row._replace(reference=float(np.mean(real[is_shown] > 0)), reference_title=title)


def _log_prob(samples: Examples, held_out: Examples) -> Measurement:
    ours, real = samples.verdicts.log_prob, held_out.verdicts.log_prob
    if ours is None or real is None:
        raise UsageError("the data have no known density")
    # In float64: a few samples far away have a density of e^-10000.
    value, reference = (float(np.mean(each, dtype=np.float64)) for each in (ours, real))
    row = Measurement("log_prob", "log density", value, samples.num, "nats", _NOTES["log_prob"])
    return row._replace(
        reference=reference if np.isfinite(reference) else None, reference_title="real held-out examples"
    )


def _path_length(evidence: Evidence) -> Measurement:
    if evidence.subject.path_lengths is None:
        raise UsageError(evidence.subject.left_out.get("path_length", "the model starts from no one latent"))
    found = path_length(evidence.subject.path_lengths(min(evidence.samples.num, NUM_PATHS)))
    row = Measurement("path_length", "path length", found.value, found.n, "score", _NOTES["path_length"])
    return row._replace(is_proxy=True, lower_is_better=True)


def _infinity(evidence: Evidence, samples: Examples, held_out: Examples) -> Measurement:
    n = _equal(samples, held_out, evidence.train)
    ours, real, train = (each.verdicts.features[:n] for each in (samples, held_out, evidence.train))
    return Measurement(
        name="frechet_infinity",
        title=f"FD∞[{evidence.judge.encoder_name}]",
        value=frechet_infinity(real, ours),
        n=n,
        unit="distance",
        note=_NOTES["frechet_infinity"],
        reference=frechet_infinity(real, train),
        reference_title=_REAL,
        is_proxy=True,
        lower_is_better=True,
    )


def _class_counts(samples: Examples, held_out: Examples) -> tuple[np.ndarray, np.ndarray]:
    ours, real = (np.asarray(each.verdicts.predicted) for each in (samples, held_out))
    num_classes = 1 + int(max(ours.max(), real.max()))
    return np.bincount(ours, minlength=num_classes), np.bincount(real, minlength=num_classes)


def _shares(evidence: Evidence, samples: Examples, held_out: Examples) -> Figure:
    """How often each class is seen in samples of an unconditional model."""
    counts, real_counts = _class_counts(samples, held_out)
    bars = [
        Bar(
            evidence.class_name(index),
            int(count) / samples.num,
            *clopper_pearson(int(count), samples.num),
            samples.num,
            float(real_counts[index] / held_out.num),
        )
        for index, count in enumerate(counts)
    ]
    caption = "Share of all samples that the judge sees in each class; a class far below its real share is neglected."
    return Bars("class_shares", "Classes among the samples", caption, bars, "real held-out examples")
