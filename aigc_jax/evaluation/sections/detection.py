"""Detectors of violations, evaluated against the world's truth or a classifier's predictions, and the worst samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import logit
from scipy.stats import norm

from aigc_jax.evaluation.detectors import all_scores
from aigc_jax.evaluation.section import Evidence, Section
from aigc_jax.guards.assess import Assessment, assess, choose
from aigc_jax.guards.calibration import Threshold, calibrate
from aigc_jax.report.figures import Figure, Gallery, Lines, Series, Table
from aigc_jax.types import UsageError

NUM_WORST, MAX_POINTS = 16, 100
"""Samples in the gallery, points of a curve."""

_NAMES = ("detectors", "roc", "risk_coverage")


def detection(evidence: Evidence) -> Section:
    """The quality of all detectors on the first samples, and a calibrated threshold of the best one.

    One half of the samples chooses the detector, the other calibrates its threshold: a threshold chosen on the samples
    that chose the detector would have no guarantee.
    """
    num = min(evidence.settings.num_detected, evidence.samples.num)
    try:
        truth = evidence.violates(evidence.samples)
    except UsageError as error:
        return Section(left_out=dict.fromkeys(_NAMES, str(error)))
    scores = all_scores(evidence, num) if num else {}
    left_out = {name: why for name, why in evidence.model.left_out.items() if name == "trajectory_variance"}
    unscored = np.full(len(truth) - num, np.nan)
    per_sample = {"violates": truth, **{f"score/{name}": np.append(of, unscored) for name, of in scores.items()}}
    is_wrong, num_wrong = truth[:num], int(truth[:num].sum())
    if not scores or num_wrong in (0, num):
        reason = f"{num_wrong} of {num} samples are violations: there is nothing to detect" if scores else "no detector"
        reason = reason if num else "pass --detector-samples 1000 for it"
        figures = _worst(evidence, truth, next(iter(scores.values()), None))
        reasons = {**(left_out if num else {}), **dict.fromkeys(_NAMES, reason)}
        return Section(figures=figures, left_out=reasons, per_sample=per_sample)
    assessed = {name: assess(values, is_wrong) for name, values in scores.items()}
    is_choosing = np.random.default_rng(0).permutation(num) % 2 == 0
    best = next(iter(scores))
    if 0 < is_wrong[is_choosing].sum() < is_choosing.sum():
        best = choose({name: values[is_choosing] for name, values in scores.items()}, is_wrong[is_choosing])
    threshold = calibrate(scores[best][~is_choosing], is_wrong[~is_choosing], evidence.settings.risk)
    figures: list[Figure] = [_table(evidence, assessed, best, threshold), *_curves(evidence, assessed)]
    figures += _worst(evidence, truth, scores[best])
    facts = {}
    if not assess(scores[best][~is_choosing], is_wrong[~is_choosing]).is_useless:
        facts["best_auc"] = assessed[best].auc.value  # as the table shows it
        if threshold.is_certified:
            facts["acceptance"] = threshold.acceptance
    return Section(figures=figures, left_out=left_out, per_sample=per_sample, facts=facts)


def _table(evidence: Evidence, assessed: Mapping[str, Assessment], best: str, threshold: Threshold) -> Table:
    rows = []
    for name, each in sorted(assessed.items(), key=lambda item: -item[1].auc.value):
        area = f"{each.auc.value:.3f} ({each.auc.low:.3f} to {each.auc.high:.3f})"
        removed = "none" if np.isnan(each.removed) else f"{each.removed:.1%}"
        rows.append([_title(name), area, _verdict(each, len(assessed)), removed])
    one = next(iter(assessed.values())).auc
    caption = (
        f"How well each score separates {evidence.violation_title} from the others: {one.num_positive} violations "
        f"among {one.num_positive + one.num_negative} samples; verdicts at 95 % for all detectors together. Half of "
        f"them chose {_title(best)}; the other half calibrated its threshold. {threshold.guarantee}"
    )
    columns = ["detector", "AUC (95 % interval)", "verdict", "removed where 96 % of the good are kept"]
    return Table("detectors", "Detectors of violations", caption, columns, rows)


def _verdict(each: Assessment, num: int) -> str:
    """The verdict where so many detectors are judged at once: all together at 95 % (Bonferroni)."""
    if each.roc is None:
        return "undecided"
    # The interval on the logit scale, as wide as so many of them must be.
    auc, low, high = (np.clip(x, 1e-9, 1 - 1e-9) for x in (each.auc.value, each.auc.low, each.auc.high))
    centre, (below, above) = logit(auc), (logit(auc) - logit(low), logit(high) - logit(auc))
    factor = norm.isf(0.025 / num) / norm.isf(0.025)
    if centre - factor * below <= 0 <= centre + factor * above:
        return "useless: no better than chance"
    return "useful" if centre > 0 else "inverted: it prefers violations"


def _curves(evidence: Evidence, assessed: Mapping[str, Assessment]) -> list[Lines]:
    """The ROC curves, and risk against coverage."""
    rates, risks = [], []
    for name, each in assessed.items():
        if each.roc is not None:
            points = _thinned(each.roc.false_positive_rate, each.roc.true_positive_rate)
            rates.append(Series(_title(name), *points))
        risks.append(Series(_title(name), *_thinned(each.risk_coverage.coverage, each.risk_coverage.risk)))
    caption = f"Share of violations ({evidence.violation_title}) that are rejected, against that of good samples."
    axes = ("good samples rejected", "violations rejected")
    roc = Lines("roc", "Detectors: ROC", caption, *axes, rates, diagonal="chance", is_share=True)
    floors = {"all samples": next(iter(assessed.values())).risk_coverage.base_risk}
    caption = (
        f"Share of {evidence.violation_title} among the accepted samples, against the share accepted, most reliable "
        "first. A score without information stays at the rate of all samples."
    )
    axes = ("samples accepted", "violations among them")
    title = "Detectors: risk against coverage"
    return [roc, Lines("risk_coverage", title, caption, *axes, risks, floors, is_share=True)]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """At most so many points of a curve, both ends among them."""
    place = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).astype(int))
    return x[place].tolist(), y[place].tolist()


def _worst(evidence: Evidence, truth: np.ndarray, score: np.ndarray | None) -> list[Figure]:
    """The worst samples: violations first, the least reliable of them before the others."""
    samples, picture = evidence.samples, evidence.model.modality.picture
    if picture is None:
        return []
    ranking = np.zeros(samples.num) if score is None else np.append(score, np.full(samples.num - len(score), -np.inf))
    chosen = np.lexsort((-np.nan_to_num(ranking, nan=np.inf), ~truth))[:NUM_WORST]
    half = len(chosen) // 2 or len(chosen)
    rows = [row for row in (chosen[:half], chosen[half:]) if len(row)]
    caption = (
        f"Of {samples.num} samples: {evidence.violation_title} first ({int(truth.sum())} in all), then the least "
        "reliable by the best detector. Below each the kind of violation."
    )
    labels = [[_label(evidence, int(i)) if truth[i] else "least reliable" for i in row] for row in rows]
    return [Gallery("worst", "The worst samples", caption, [picture(samples.values[row]) for row in rows], labels)]


def _label(evidence: Evidence, i: int) -> str:
    """The kind of violation of a sample."""
    samples, predictions = evidence.samples, evidence.samples.predictions
    if predictions.violation is not None:
        return str(evidence.judge.violation_names[int(predictions.violation[i])])
    if samples.condition is None or predictions.predicted is None:
        return "off the data"
    requested, seen = (evidence.class_name(int(of[i])) for of in (samples.condition, predictions.predicted))
    return f"{requested} requested, {seen} predicted"


def _title(name: str) -> str:
    return name.replace("_", " ")
