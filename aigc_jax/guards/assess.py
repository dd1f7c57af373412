"""Quality of detectors on labelled samples: ROC, risk and coverage, and a verdict.

Scores: one per sample, higher = less reliable, NaN the least reliable of all. The truth: whether each is unreliable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from aigc_jax.metrics.checks import checked
from aigc_jax.metrics.ranking import RankingQuality, RocCurve, Scores, Truth, roc_auc, roc_curve
from aigc_jax.types import UsageError

KEPT = 0.96
"""Share of the reliable samples that is kept where "removed" is counted, as by Aithal et al. 2024."""


class RiskCoverage(NamedTuple):
    """Risk among the accepted samples, against the share accepted: one point for each distinct score."""

    coverage: Float64[np.ndarray, " point"]
    """Share of the samples with a score <= threshold, rising to 1."""
    risk: Float64[np.ndarray, " point"]
    """Share of unreliable ones among those."""
    threshold: Float64[np.ndarray, " point"]
    base_risk: float
    """Risk of accepting all."""


class Assessment(NamedTuple):
    """Quality of a detector on labelled samples that it was not chosen by."""

    auc: RankingQuality
    """Area under the ROC curve with its 95 % interval; NaN in (0, 1) where all samples are of one kind."""
    removed: float
    """Share of the unreliable samples that a threshold removes which keeps 96 % of the reliable ones; NaN likewise."""
    roc: RocCurve | None
    """None where all samples are of one kind."""
    risk_coverage: RiskCoverage

    @property
    def is_useless(self) -> bool:
        """Whether these samples cannot tell the score from a coin: the interval of its AUC contains one half."""
        return self.auc.low <= 0.5 <= self.auc.high

    @property
    def verdict(self) -> str:
        """One of ``undecided`` (nothing to tell apart), ``useless``, ``inverted`` (AUC below one half), ``useful``."""
        if self.roc is None:
            return "undecided"
        if self.is_useless:
            return "useless"
        return "useful" if self.auc.value > 0.5 else "inverted"


def assess(scores: Scores, is_unreliable: Truth, *, kept: float = KEPT) -> Assessment:
    """Assess a detector by labelled samples.

    Args:
        scores: one per sample; the distance to the typical for detectors of which typical is best
            (:func:`aigc_jax.guards.typicality.typicality`).
        is_unreliable: the truth.
        kept: share in (0, 1] of the reliable samples that a filter keeps.

    Returns:
        The assessment. A score that says nothing has an AUC of about one half and is called useless.

    Raises:
        UsageError: there are no samples, or the share is none.

    Reference:
        Aithal et al., "Understanding Hallucinations in Diffusion Models through Mode Interpolation", 2024, section 5,
        for ``removed``.

    >>> found = assess(np.array([0.1, 0.2, 0.3, 0.9] * 9), np.array([False, False, False, True] * 9))
    >>> found.auc.value, found.removed, found.verdict
    (1.0, 1.0, 'useful')
    """
    if not 0 < kept <= 1:
        raise UsageError(f"expected a share in (0, 1] of reliable samples to keep, got {kept}: {KEPT} is usual")
    values, truth = _checked(scores, is_unreliable)
    curve, removed = None, float("nan")
    num_unreliable = int(truth.sum())
    auc = RankingQuality(float("nan"), 0.0, 1.0, num_unreliable, len(truth) - num_unreliable)
    if 0 < num_unreliable < len(truth):
        auc, curve = roc_auc(values, truth), roc_curve(values, truth)
        is_kept = curve.false_positive_rate <= 1 - kept + 1e-12
        removed = float(curve.true_positive_rate[is_kept].max())
    return Assessment(auc, removed, curve, risk_coverage(scores, is_unreliable))


def risk_coverage(scores: Scores, is_unreliable: Truth) -> RiskCoverage:
    """The trade-off of a filter: how much is accepted, and how much of that is unreliable.

    Reference:
        El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", 2010.

    >>> curve = risk_coverage(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True]))
    >>> curve.coverage.tolist(), curve.risk.round(3).tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.333, 0.5])
    """
    values, truth = _checked(scores, is_unreliable)
    threshold, accepted, bad = accepted_by_threshold(values, truth)
    return RiskCoverage(accepted / len(truth), bad / accepted, threshold, float(truth.mean()))


def accepted_by_threshold(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores, rising; how many samples score at most so much; how many unreliable ones among them."""
    order = np.argsort(values, kind="stable")
    rising = values[order]
    last = np.append(np.flatnonzero(rising[1:] != rising[:-1]), len(rising) - 1)
    return rising[last], last + 1, np.cumsum(truth[order])[last].astype(np.int64)


def choose(scores: Mapping[str, Scores], is_unreliable: Truth) -> str:
    """The name of the best of several detectors by labelled samples: the largest AUC, the first of equals.

    Assess it on other samples: the best of many useless scores looks useful on those that it was chosen by.

    >>> choose({"bad": np.array([3.0, 2.0, 1.0]), "good": np.array([1.0, 2.0, 3.0])}, np.array([False, False, True]))
    'good'
    """
    if not scores:
        raise UsageError("expected at least one detector to choose from, got none")
    areas = {name: roc_auc(_checked(each, is_unreliable)[0], is_unreliable).value for name, each in scores.items()}
    return max(areas, key=areas.__getitem__)


def _checked(scores: Scores, is_unreliable: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Scores, infinite in place of NaN, and the truth."""
    values, truth = checked(scores=(scores, float, "num"), is_unreliable=(is_unreliable, bool, "num"))
    if not len(values):
        raise UsageError("expected labelled samples, got none: draw some")
    return np.where(np.isnan(values), np.inf, values.astype(np.float64)), truth
