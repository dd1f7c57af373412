"""Validity of samples: exact where a world decides it, by the manifold of real features elsewhere."""

from __future__ import annotations

import numpy as np

from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.metrics.differences import share_difference, stratified_shares
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.report.figures import Bar, Bars
from aigc_jax.report.measurements import Details
from aigc_jax.types import UsageError

_REAL = "real held-out examples"


def validity(evidence: Evidence) -> Section:
    """The share of valid samples, and of samples within the manifold of the training examples."""
    exact = _exact(evidence)
    measurements, checks, left_out = [*exact.measurements], [*exact.checks], dict(exact.left_out)
    try:
        inside, real = evidence.inside.is_inside, evidence.real_inside.is_inside
        details: Details = {"reference": float(real.mean()), "reference_title": _REAL, "is_proxy": True}
        measurements.append(proportion("manifold_precision", int(inside.sum()), len(inside), **details))
        if evidence.judge.world is None:  # an exact answer needs no approximation
            # Compared with held-out examples of the class that each looks like.
            ours, theirs = evidence.samples.predictions.predicted, evidence.held_out.predictions.predicted
            if ours is None or theirs is None:
                ours, theirs = (np.zeros(len(side), np.int64) for side in (inside, real))
            checks.append(Comparison("precision", stratified_shares(~inside, ours, ~real, theirs)))
    except UsageError as error:
        left_out = {"manifold_precision": str(error), **left_out}  # first: the reason of the criterion
    headline = measurements[0].name if measurements else ""
    return Section("valid", measurements, checks, exact.figures, left_out, headline)


def _exact(evidence: Evidence) -> Section:
    """The verdict of a world: the share of valid samples, and the kinds of violations of the others."""
    violation, real = evidence.samples.predictions.violation, evidence.held_out.predictions.violation
    if violation is None or real is None:
        reason = "only a synthetic data set decides validity; manifold precision approximates it"
        return Section(left_out={"valid_samples": reason})
    n, num_wrong, real_wrong = len(violation), int(np.sum(violation != 0)), int(np.sum(real != 0))
    reference = 1 - real_wrong / len(real)
    row = proportion("valid_samples", n - num_wrong, n, reference=reference, reference_title=_REAL)
    check = Comparison("invalid_samples", share_difference(num_wrong, n, real_wrong, len(real)))
    bars = []
    for kind, name in enumerate(evidence.judge.violation_names[1:], start=1):
        count = int(np.sum(violation == kind))
        bars.append(Bar(name, count / n, *clopper_pearson(count, n), n, float(np.mean(real == kind))))
    caption = "Share of all samples with each kind of violation; of several, the first is counted."
    return Section("valid", [row], [check], [Bars("violations", "Violations", caption, bars, _REAL)])
