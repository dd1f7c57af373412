"""Are samples of the data at all? Exactly where a world decides, by the manifold of real features elsewhere."""

from __future__ import annotations

import numpy as np

from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.evaluation.significance import fisher_test, mantel_haenszel_test
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.precision_recall import Overlap
from aigc_jax.report.figures import Bar, Bars, Figure
from aigc_jax.report.schema import Check

_PRECISION = (
    "Share of samples that lie within the balls around training examples to their nearest neighbours (improved "
    "precision): a stand-in for validity. Real examples do not reach 100 % either: read it beside theirs."
)


def validity(evidence: Evidence, inside: Overlap | None, real_inside: Overlap | None) -> Section:
    """How many samples are of the data.

    Args:
        evidence: what was looked at.
        inside: samples among the training examples; None where there are too few.
        real_inside: held-out examples in their place.

    Returns:
        The section.
    """
    measurements, checks, figures, left_out = [], [], [], {}
    if evidence.judge.world is None:
        left_out["valid_samples"] = "only a world decides what is valid; manifold precision stands in for it"
    else:
        section = _exact(evidence)
        measurements, checks, figures = [*section.measurements], [*section.checks], [*section.figures]
    if inside is None or real_inside is None:
        left_out["manifold_precision"] = "too few examples for nearest neighbours: ask for more samples"
    else:
        n, count = len(inside.is_inside), int(inside.is_inside.sum())
        row = proportion("manifold_precision", "precision", count=count, n=n, note=_PRECISION)
        real_count, real_n = int(real_inside.is_inside.sum()), len(real_inside.is_inside)
        real_share = real_count / real_n
        measurements.append(row._replace(reference=real_share, reference_title="real held-out examples", is_proxy=True))
        if evidence.judge.world is None:
            # Exact knowledge leaves nothing for a stand-in to say.
            checks.append(_off_the_data(evidence, inside, real_inside))
    headline = measurements[0].name if measurements else ""
    return Section(measurements, checks, figures, left_out, headline)


def _off_the_data(evidence: Evidence, inside: Overlap, real_inside: Overlap) -> Check:
    """Samples outside, beside held-out examples of the class that each looks like."""
    ours, real = evidence.samples.verdicts.predicted, evidence.held_out.verdicts.predicted
    if ours is None or real is None:
        ours, real = (np.zeros(len(each.is_inside), np.int64) for each in (inside, real_inside))
    return mantel_haenszel_test("samples off the data", (~inside.is_inside, ours), (~real_inside.is_inside, real))


def _exact(evidence: Evidence) -> Section:
    """What a world says: the share that is valid, and what is wrong with the others."""
    violation, real = evidence.samples.verdicts.violation, evidence.held_out.verdicts.violation
    assert violation is not None  # for the type checker: worlds always say
    assert real is not None
    n, num_wrong, real_wrong = len(violation), int(np.sum(violation != 0)), int(np.sum(real != 0))
    row = proportion(
        "valid_samples",
        "valid samples",
        count=n - num_wrong,
        n=n,
        note="Share of samples that the world allows; the others are hallucinations.",
    )._replace(reference=1 - real_wrong / len(real), reference_title="real held-out examples")
    check = fisher_test("samples that the world forbids", num_wrong, n, real_wrong, len(real))
    bars = [
        Bar(name, count / n, *clopper_pearson(count, n), n, float(np.mean(real == kind)))
        for kind, name in enumerate(evidence.judge.violation_names)
        if kind
        for count in [int(np.sum(violation == kind))]
    ]
    figure: Figure = Bars(
        "violations",
        "What is wrong",
        "Share of all samples with each kind of violation; the first that applies is counted.",
        bars,
        "real held-out examples",
    )
    return Section([row], [check], [figure])
