"""How well a score ranks positives above negatives: ROC curve, the area under it with an interval, precision-recall.

The one implementation in the library: detectors (positive = unreliable), classifiers (positive = of the class).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Float64
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from aigc_jax.metrics.intervals import NUM_RESAMPLES, bootstrap_interval, clopper_pearson
from aigc_jax.types import UsageError

Scores = Float[np.ndarray, " num"] | Float[Array, " num"]
"""One number per example, higher = more positive."""

Truth = Bool[np.ndarray, " num"] | Bool[Array, " num"]
"""Whether each example is a positive."""


class RocCurve(NamedTuple):
    """The trade-off between hits and false alarms.

    Attributes:
        false_positive_rate: share of the negatives with a score >= threshold, rising from 0 to 1.
        true_positive_rate: share of the positives with a score >= threshold, rising from 0 to 1.
        threshold: falling; the first is +inf, for which nothing is flagged, the others are the distinct scores.
    """

    false_positive_rate: Float64[np.ndarray, " point"]
    true_positive_rate: Float64[np.ndarray, " point"]
    threshold: Float64[np.ndarray, " point"]


class RankingQuality(NamedTuple):
    """A figure of a ranking with its interval.

    Attributes:
        value: the figure, in [0, 1].
        low: lower end of its interval.
        high: upper end.
        num_positive: number of positives.
        num_negative: number of negatives.
    """

    value: float
    low: float
    high: float
    num_positive: int
    num_negative: int


def roc_curve(scores: Scores, is_positive: Truth) -> RocCurve:
    """The receiver operating characteristic, one point for each distinct score.

    Args:
        scores: higher = more positive; infinite ones are allowed.
        is_positive: the truth.

    Returns:
        The curve, from (0, 0) to (1, 1).

    Raises:
        UsageError: no positives, no negatives, or a score that is NaN.

    >>> curve = roc_curve(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    >>> curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    values, truth = _checked(scores, is_positive)
    threshold, hits, flagged = _by_threshold(values, truth)
    num_positive = int(truth.sum())
    false_positive_rate = (flagged - hits) / (len(truth) - num_positive)
    return RocCurve(
        np.concatenate([[0.0], false_positive_rate]),
        np.concatenate([[0.0], hits / num_positive]),
        np.concatenate([[np.inf], threshold]),
    )


def roc_auc(scores: Scores, is_positive: Truth, *, confidence: float = 0.95) -> RankingQuality:
    """Area under the ROC curve: the probability that a positive outranks a negative, a tie counting one half.

    Its interval is DeLong's, on the scale of the log odds. Where the ranking is perfect (or perfectly inverted) and
    DeLong's variance is therefore 0, the interval is the exact one of as many disjoint pairs as there are, all of them
    right: a bound, never a certainty.

    Args:
        scores: higher = more positive; infinite ones are allowed.
        is_positive: the truth.
        confidence: of the interval, in (0, 1).

    Returns:
        The area and its interval; (0, 1) where one positive or one negative says nothing of the variance.

    Raises:
        UsageError: no positives, no negatives, or a score that is NaN.

    Reference:
        DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
        characteristic curves", Biometrics 1988; by midranks as in Sun & Xu, 2014, algorithm 2.

    >>> roc_auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])).value
    0.875
    """
    values, truth = _checked(scores, is_positive)
    positive, negative = values[truth], values[~truth]
    num_positive, num_negative = len(positive), len(negative)
    ranks = rankdata(values)
    # Of each positive the share of negatives below it, of each negative the share of positives above it.
    below = (ranks[truth] - rankdata(positive)) / num_negative
    above = 1.0 - (ranks[~truth] - rankdata(negative)) / num_positive
    value = float(below.mean())
    num_pairs = min(num_positive, num_negative)
    if value in (0.0, 1.0):
        low, high = clopper_pearson(num_pairs if value else 0, num_pairs, confidence)
    elif num_pairs < 2:
        low, high = 0.0, 1.0
    else:
        deviation = np.sqrt(below.var(ddof=1) / num_positive + above.var(ddof=1) / num_negative)
        # d logit(a) / d a = 1 / (a (1 - a)).
        reach = norm.ppf((1 + confidence) / 2) * deviation / (value * (1 - value))
        low, high = (float(expit(logit(value) + sign * reach)) for sign in (-1, 1))
    return RankingQuality(value, low, high, num_positive, num_negative)


def average_precision(
    scores: Scores,
    is_positive: Truth,
    *,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> RankingQuality:
    """Area under the precision-recall curve as the sum of precision times the gain in recall, without interpolation.

    A ranking that says nothing scores the share of positives, not one half: print that share beside it.

    Args:
        scores: higher = more positive; infinite ones are allowed.
        is_positive: the truth.
        num_resamples: of the stratified bootstrap for the interval.
        confidence: of the interval, in (0, 1).
        seed: of the resamples.

    Returns:
        The figure and its interval.

    Raises:
        UsageError: no positives, no negatives, or a score that is NaN.

    Reference:
        Davis & Goadrich, "The relationship between precision-recall and ROC curves", 2006, section 5, for why the curve
        is not interpolated linearly.

    >>> quality = average_precision(np.array([0.9, 0.4, 0.3]), np.array([True, False, True]), num_resamples=10)
    >>> round(quality.value, 6)
    0.833333
    """
    values, truth = _checked(scores, is_positive)
    ordered = np.concatenate([values[truth], values[~truth]])
    num_positive = int(truth.sum())
    is_first = np.arange(len(ordered)) < num_positive

    # Stratified: the figure depends on the share of positives, which is no property of the ranking.
    interval = bootstrap_interval(
        lambda index: _average_precision(ordered[index], is_first),
        (num_positive, len(truth) - num_positive),
        num_resamples=num_resamples,
        confidence=confidence,
        seed=seed,
    )
    return RankingQuality(_average_precision(values, truth), *interval, num_positive, len(truth) - num_positive)


def _average_precision(values: np.ndarray, truth: np.ndarray) -> float:
    _, hits, flagged = _by_threshold(values, truth)
    return float(np.sum(np.diff(hits, prepend=0) * hits / flagged) / truth.sum())


def _by_threshold(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores, falling, with the numbers of positives and of examples that score at least as high."""
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    return falling[last], np.cumsum(truth[order])[last].astype(np.int64), last + 1


def _checked(scores: Scores, is_positive: Truth) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(scores, np.float64), np.asarray(is_positive)
    if np.isnan(values).any():
        raise UsageError(f"expected scores that are numbers, got {int(np.isnan(values).sum())} NaN: leave those out")
    if truth.all() or not truth.any():
        raise UsageError(
            f"a ranking needs positives and negatives, got {int(truth.sum())} positives of {len(truth)}: "
            "take more examples"
        )
    return values, truth
