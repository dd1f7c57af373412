"""ROC curve of a score, and the area under it with an interval.

Not scikit-learn's: its curve refuses infinite scores, and its area has no interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Float64
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from aigc_jax.metrics.checks import checked
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.types import UsageError

Scores = Float[np.ndarray, " num"] | Float[Array, " num"]
"""One number per example, higher = more positive."""

Truth = Bool[np.ndarray, " num"] | Bool[Array, " num"]
"""Whether each example is a positive."""


class RocCurve(NamedTuple):
    """Rates of the examples with a score >= threshold, both rising from 0 to 1."""

    false_positive_rate: Float64[np.ndarray, " point"]
    true_positive_rate: Float64[np.ndarray, " point"]
    threshold: Float64[np.ndarray, " point"]
    """Falling; the first is +inf, for which nothing is flagged, the others are the distinct scores."""


class RankingQuality(NamedTuple):
    """Area under a ROC curve, in [0, 1], and the ends of its interval."""

    value: float
    low: float
    high: float
    num_positive: int
    num_negative: int


def roc_curve(scores: Scores, is_positive: Truth) -> RocCurve:
    """Receiver operating characteristic, one point for each distinct score.

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
    rising, place = np.unique(values, return_inverse=True)
    hits, flagged = (np.cumsum(np.bincount(place, weights)[::-1]) for weights in (truth, None))
    false_positive_rate, true_positive_rate = (flagged - hits) / (~truth).sum(), hits / truth.sum()
    points = ((0.0, false_positive_rate), (0.0, true_positive_rate), (np.inf, rising[::-1]))
    return RocCurve(*(np.append(first, others) for first, others in points))


def roc_auc(scores: Scores, is_positive: Truth) -> RankingQuality:
    """Area under the ROC curve: the probability that a positive outranks a negative, a tie counting one half.

    Its 95 % interval is DeLong's, on the scale of the log odds. Where the ranking is perfect (or perfectly inverted),
    and DeLong's variance therefore 0, it is the exact one of as many disjoint pairs as there are, all of them right: a
    bound, never a certainty.

    Args:
        scores: higher = more positive; infinite ones are allowed.
        is_positive: the truth.

    Returns:
        The area and its interval; (0, 1) where a single positive or negative leaves the variance unknown.

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
        low, high = clopper_pearson(num_pairs if value else 0, num_pairs)
    elif num_pairs < 2:
        low, high = 0.0, 1.0
    else:
        deviation = np.sqrt(below.var(ddof=1) / num_positive + above.var(ddof=1) / num_negative)
        # d logit(a) / d a = 1 / (a (1 - a)).
        reach = norm.ppf(0.975) * deviation / (value * (1 - value))
        low, high = (float(expit(logit(value) + sign * reach)) for sign in (-1, 1))
    return RankingQuality(value, low, high, num_positive, num_negative)


def _checked(scores: Scores, is_positive: Truth) -> tuple[np.ndarray, np.ndarray]:
    values, truth = checked(scores=(scores, float, "num"), is_positive=(is_positive, bool, "num"))
    if np.isnan(values).any():
        raise UsageError(f"expected scores that are numbers, got {int(np.isnan(values).sum())} NaN: leave those out")
    if truth.all() or not truth.any():
        raise UsageError(
            f"a ranking needs positives and negatives, got {int(truth.sum())} positives of {len(truth)}: "
            "take more examples"
        )
    return values.astype(np.float64), truth
