"""Can violations be told before they are shipped? Detectors against the truth, and the worst samples.

The truth is the world's where there is one. Elsewhere it is the classifier's word on the class that was asked for, a
stand-in: a detector is then as good as it agrees with that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logit
from scipy.stats import norm

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence
from aigc_jax.evaluation.sweeps import violates, what_is_wrong
from aigc_jax.guards.assess import Assessment, assess, choose
from aigc_jax.guards.calibration import Threshold, calibrate
from aigc_jax.guards.neighbors import inverse_realism, neighbor_distance
from aigc_jax.guards.typicality import typicality
from aigc_jax.metrics.precision_recall import Overlap
from aigc_jax.report.figures import Figure, Gallery, Lines, Series, Table

NUM_WORST, NUM_REAL, MAX_POINTS = 16, 500, 100
"""Samples on the contact sheet, real examples that a typical score is taken from, points of a curve."""


class Detection(NamedTuple):
    """What detectors can tell.

    Attributes:
        figures: ROC, risk against coverage, the table of detectors, the worst samples.
        left_out: ``{name: why it was not measured}``.
        scores: ``{detector: score [num_samples]}``, NaN where it was not computed.
        best_auc: the largest area under a ROC curve, None where none was measured.
        acceptance: share of the samples that the calibrated filter of that detector accepts, None where none is
            certified.
    """

    figures: Sequence[Figure] = ()
    left_out: Mapping[str, str] = {}
    scores: Mapping[str, np.ndarray] = {}
    best_auc: float | None = None
    acceptance: float | None = None


def detection(evidence: Evidence, inside: Overlap | None, *, num: int, risk: float) -> Detection:
    """Score the first samples by every detector, and hold the scores to the truth.

    Args:
        evidence: what was looked at.
        inside: all samples among the training examples, for their realism; None for too few.
        num: how many samples are scored; 0 leaves all of it out.
        risk: the risk that the calibrated filter shall guarantee, in (0, 1).

    Returns:
        What detectors can tell. One half of the samples chooses the detector, the other calibrates its threshold: a
        threshold chosen on the samples that chose the detector would have no guarantee.
    """
    num = min(num, evidence.samples.num)
    truth = violates(evidence, evidence.samples)
    if not num:
        return Detection(_sheet(evidence, truth, None), dict.fromkeys(_NAMES, "pass --detector-samples 1000 for it"))
    scores = _scores(evidence, inside, num)
    left_out = {name: why for name, why in evidence.subject.left_out.items() if name == "trajectory_variance"}
    is_wrong, num_wrong = truth[:num], int(truth[:num].sum())
    if not scores or num_wrong in (0, num):
        reason = f"{num_wrong} of {num} samples are violations: nothing to tell apart" if scores else "no detector"
        figures = _sheet(evidence, truth, next(iter(scores.values()), None))
        return Detection(figures, {**left_out, **dict.fromkeys(_NAMES, reason)}, _padded(scores, evidence))
    assessed = {name: assess(values, is_wrong) for name, values in scores.items()}
    is_choosing = np.random.default_rng(0).permutation(num) % 2 == 0
    best, threshold = _calibrated(scores, is_wrong, is_choosing, risk)
    figures = [
        _table(evidence, assessed, best, threshold),
        _roc(evidence, assessed),
        _risk(evidence, assessed),
        *_sheet(evidence, truth, scores[best]),
    ]
    quality = assess(scores[best][~is_choosing], is_wrong[~is_choosing])
    return Detection(
        figures,
        left_out,
        _padded(scores, evidence),
        None if quality.is_useless else quality.auc.value,
        threshold.acceptance if threshold.is_certified else None,
    )


_NAMES = ("detectors", "roc", "risk_coverage")


def _scores(evidence: Evidence, inside: Overlap | None, num: int) -> dict[str, np.ndarray]:
    """``{detector: score [num]}`` of the first samples; higher is less reliable."""
    subject, samples = evidence.subject, evidence.samples.select(slice(0, num))
    scores: dict[str, np.ndarray] = {}
    # Where being off the data is the truth itself, neighbours in the same features would only repeat it.
    is_independent = evidence.judge.world is not None or samples.condition is not None
    if inside is not None and is_independent:
        scores["realism"] = inverse_realism(inside)[:num]
        scores["neighbor_distance"] = neighbor_distance(evidence.train.verdicts.features, samples.verdicts.features)
    for name, score_fn, is_typical_best in subject.detectors:
        values = np.asarray(score_fn(samples.loaded(), samples.condition, 0), np.float64)
        if is_typical_best:
            real = evidence.held_out.select(slice(0, NUM_REAL))
            values = typicality(values, np.asarray(score_fn(real.loaded(), real.condition, 0)))
        scores[name] = values
    if subject.trace_fn is not None:
        _, traced = subject.trace_fn(0, samples.condition, num)
        scores |= {name: np.asarray(values, np.float64) for name, values in traced.items()}
    return scores


def _calibrated(
    scores: Mapping[str, np.ndarray], is_wrong: np.ndarray, is_choosing: np.ndarray, risk: float
) -> tuple[str, Threshold]:
    """The best detector on one half of the samples, and its threshold on the other."""
    best = next(iter(scores))
    if 0 < is_wrong[is_choosing].sum() < is_choosing.sum():
        best = choose({name: values[is_choosing] for name, values in scores.items()}, is_wrong[is_choosing])
    return best, calibrate(scores[best][~is_choosing], is_wrong[~is_choosing], risk)


def _padded(scores: Mapping[str, np.ndarray], evidence: Evidence) -> dict[str, np.ndarray]:
    """Scores of all samples, NaN where there is none."""
    missing = {name: evidence.samples.num - len(values) for name, values in scores.items()}
    return {name: np.append(values, np.full(missing[name], np.nan)) for name, values in scores.items()}


def _table(evidence: Evidence, assessed: Mapping[str, Assessment], best: str, threshold: Threshold) -> Table:
    words = {
        "useful": "useful",
        "useless": "useless: may as well be a coin",
        "inverted": "inverted: it prefers violations",
        "undecided": "undecided",
    }
    rows = [
        [
            _title(name),
            f"{each.auc.value:.3f} ({each.auc.low:.3f} to {each.auc.high:.3f})",
            words[_verdict(each, len(assessed))],
            "none" if np.isnan(each.removed) else f"{each.removed:.1%}",
        ]
        for name, each in sorted(assessed.items(), key=lambda item: -item[1].auc.value)
    ]
    one = next(iter(assessed.values())).auc
    caption = (
        f"How well each score tells {what_is_wrong(evidence)} from the others: {one.num_positive} violations among "
        f"{one.num_positive + one.num_negative} samples; verdicts at 95 % for all detectors together. Half "
        f"of them chose {_title(best)}; the other half calibrated its threshold. {threshold.guarantee}"
    )
    columns = ["detector", "AUC (95 % interval)", "verdict", "removed where 96 % of the good are kept"]
    return Table("detectors", "Detectors of hallucination", caption, columns, rows)


def _verdict(each: Assessment, num: int) -> str:
    """The verdict where so many detectors are judged at once: all together at 95 % (Bonferroni)."""
    if each.roc is None:
        return "undecided"
    # The interval on the logit scale, as wide as so many of them must be.
    auc, low, high = (np.clip(x, 1e-9, 1 - 1e-9) for x in (each.auc.value, each.auc.low, each.auc.high))
    centre, (below, above) = logit(auc), (logit(auc) - logit(low), logit(high) - logit(auc))
    factor = norm.isf(0.025 / num) / norm.isf(0.025)
    if centre - factor * below <= 0 <= centre + factor * above:
        return "useless"
    return "useful" if centre > 0 else "inverted"


def _roc(evidence: Evidence, assessed: Mapping[str, Assessment]) -> Lines:
    curves = [
        Series(_title(name), *_thin(each.roc.false_positive_rate, each.roc.true_positive_rate))
        for name, each in assessed.items()
        if each.roc is not None
    ]
    caption = f"Share of violations ({what_is_wrong(evidence)}) found, against the share of good samples lost for it."
    axes = ("good samples rejected", "violations rejected")
    return Lines("roc", "Detectors: ROC", caption, *axes, curves, diagonal="chance", is_share=True)


def _risk(evidence: Evidence, assessed: Mapping[str, Assessment]) -> Lines:
    curves = [
        Series(_title(name), *_thin(each.risk_coverage.coverage, each.risk_coverage.risk))
        for name, each in assessed.items()
    ]
    base = next(iter(assessed.values())).risk_coverage.base_risk
    caption = (
        f"Share of {what_is_wrong(evidence)} among the accepted samples, against the share accepted, most reliable "
        "first. A score that says nothing stays at the rate of all samples."
    )
    axes = ("samples accepted", "violations among them")
    floors = {"all samples": base}
    return Lines("risk_coverage", "Detectors: risk against coverage", caption, *axes, curves, floors, is_share=True)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """At most so many points of a curve, both ends among them."""
    place = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).astype(int))
    return x[place].tolist(), y[place].tolist()


def _sheet(evidence: Evidence, truth: np.ndarray, score: np.ndarray | None) -> list[Figure]:
    """The worst samples, violations first, the least reliable of them before the others."""
    samples = evidence.samples
    picture = samples.modality.picture
    if picture is None:
        return []
    ranking = np.zeros(samples.num) if score is None else np.append(score, np.full(samples.num - len(score), -np.inf))
    chosen = np.lexsort((-np.nan_to_num(ranking, nan=np.inf), ~truth))[:NUM_WORST]
    half = len(chosen) // 2 or len(chosen)
    rows = [chosen[:half], chosen[half:]]
    groups = [row for row in rows if len(row)]
    caption = (
        f"Of {samples.num} samples: {what_is_wrong(evidence)} first ({int(truth.sum())} in all), then those that the "
        "best detector trusts least. Below each what is wrong with it."
    )
    labels = [[_wrong(evidence, samples, int(i), bool(truth[i])) for i in row] for row in groups]
    return [Gallery("worst", "The worst samples", caption, [picture(samples.values[row]) for row in groups], labels)]


def _wrong(evidence: Evidence, samples: Examples, i: int, is_wrong: bool) -> str:
    if not is_wrong:
        return "least trusted"
    violation = samples.verdicts.violation
    if violation is not None:
        return str(evidence.judge.violation_names[int(violation[i])])
    if samples.condition is None or samples.verdicts.predicted is None:
        return "off the data"
    asked, seen = (evidence.class_name(int(values[i])) for values in (samples.condition, samples.verdicts.predicted))
    return f"asked {asked}, seen {seen}"


def _title(name: str) -> str:
    return name.replace("_", " ")
