"""How well a classifier does on examples with known classes: F1, precision-recall area, calibration.

Accuracy alone says nothing where classes are of different sizes: 94 % are right by never naming a class of 6 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64

from aigc_jax.metrics.ranking import RankingQuality, average_precision
from aigc_jax.types import UsageError

Probabilities = Float[np.ndarray, "num num_classes"] | Float[Array, "num num_classes"]
"""Of each class for each example, >= 0 with sum 1."""

Classes = Int[np.ndarray, " num"] | Int[Array, " num"]
"""The true class of each example."""


class FScores(NamedTuple):
    """F1 and its two parts.

    Attributes:
        macro: mean of ``per_class`` over the classes that occur, true or predicted.
        per_class: harmonic mean of precision and recall [K]; NaN for a class that neither occurs nor is predicted.
        precision: share of the predictions of a class that are right [K]; NaN where it is never predicted.
        recall: share of the examples of a class that are found [K]; NaN where there are none.
        support: number of examples of each class [K].
    """

    macro: float
    per_class: Float64[np.ndarray, " num_classes"]
    precision: Float64[np.ndarray, " num_classes"]
    recall: Float64[np.ndarray, " num_classes"]
    support: Int64[np.ndarray, " num_classes"]


def f_scores(confusion: Int[np.ndarray, "num_classes num_classes"]) -> FScores:
    """F1 of each class and their mean, from counts.

    Args:
        confusion: number of examples with a true class (row) and a predicted class (column), as ``confusion`` of
            :func:`aigc_jax.metrics.class_agreement.class_agreement`.

    Returns:
        The scores.

    Raises:
        UsageError: there are no examples.

    Reference:
        Opitz & Burst, "Macro F1 and Macro F1", 2019, equation 2 (the mean of F1, not the F1 of means).

    >>> f_scores(np.array([[3, 1], [1, 5]])).per_class.round(4).tolist()
    [0.75, 0.8333]
    """
    if not confusion.sum():
        raise UsageError("expected examples to score, got none: ask for at least one")
    right, support, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    per_class = _ratio(2 * right, support + predicted)
    macro = float(np.nanmean(per_class))
    return FScores(macro, per_class, _ratio(right, predicted), _ratio(right, support), support.astype(np.int64))


def class_average_precision(
    probabilities: Probabilities, truth: Classes, *, num_resamples: int = 200, seed: int = 0
) -> list[RankingQuality | None]:
    """Area under the precision-recall curve of each class against all others.

    Args:
        probabilities: of the classifier.
        truth: the true classes.
        num_resamples: of the bootstrap for the intervals.
        seed: of the resamples.

    Returns:
        One figure per class with its 95 % interval; None for a class that has no examples, or all of them.

    >>> probabilities, truth = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
    >>> [quality.value for quality in class_average_precision(probabilities, truth, num_resamples=10)]
    [1.0, 1.0]
    """
    scores, classes = np.asarray(probabilities), np.asarray(truth)
    qualities: list[RankingQuality | None] = []
    for k in range(scores.shape[1]):
        is_class = classes == k
        has_both = is_class.any() and not is_class.all()
        given = {"num_resamples": num_resamples, "seed": seed}
        qualities.append(average_precision(scores[:, k], is_class, **given) if has_both else None)
    return qualities


class Calibration(NamedTuple):
    """Whether probabilities mean what they say.

    Attributes:
        ece: expected calibration error of the predicted class: mean over examples of |accuracy - confidence| of their
            bin. It is biased upwards by about the noise of a bin: a calibrated classifier does not score 0.
        max_error: the largest |accuracy - confidence| of a bin.
        per_class: the same error of each class's probability [K], over all examples.
        bin_confidence: mean confidence in each bin, of the predicted class; NaN in an empty one.
        bin_accuracy: share of right predictions in each bin.
        bin_count: number of examples in each bin.
    """

    ece: float
    max_error: float
    per_class: Float64[np.ndarray, " num_classes"]
    bin_confidence: Float64[np.ndarray, " num_bins"]
    bin_accuracy: Float64[np.ndarray, " num_bins"]
    bin_count: Int64[np.ndarray, " num_bins"]


def calibration(probabilities: Probabilities, truth: Classes, *, num_bins: int = 15) -> Calibration:
    """Expected calibration error with bins of equal width, of the predicted class and of each class by itself.

    Bin i of n holds the probabilities in (i / n, (i + 1) / n], the first also 0.

    Args:
        probabilities: of the classifier.
        truth: the true classes.
        num_bins: number of bins, >= 1.

    Returns:
        The errors, and the bins of the reliability diagram.

    Raises:
        UsageError: there are no examples, or numbers that are no probabilities.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3; Nixon et al., "Measuring Calibration
        in Deep Learning", 2019, section 4, for each class.

    >>> result = calibration(np.array([[0.8, 0.2]] * 10), np.array([0] * 6 + [1] * 4))
    >>> round(result.ece, 6), result.per_class.round(6).tolist()
    (0.2, [0.2, 0.2])
    """
    p, classes = np.asarray(probabilities, np.float64), np.asarray(truth)
    if not len(p) or not (p.min() >= 0 and np.abs(p.sum(axis=1) - 1).max() < 1e-3):
        raise UsageError(
            f"expected probabilities >= 0 with sum 1 of at least one example, got {len(p)} rows: apply softmax first"
        )
    predicted = p.argmax(axis=1)
    count, confidence, accuracy = _binned(p.max(axis=1), predicted == classes, num_bins)
    gap = np.abs(accuracy - confidence)
    return Calibration(
        ece=_weighted(gap, count),
        max_error=float(np.nanmax(gap)),
        per_class=np.array([_class_error(p[:, k], classes == k, num_bins) for k in range(p.shape[1])]),
        bin_confidence=confidence,
        bin_accuracy=accuracy,
        bin_count=count,
    )


def _class_error(p: np.ndarray, is_class: np.ndarray, num_bins: int) -> float:
    count, confidence, share = _binned(p, is_class, num_bins)
    return _weighted(np.abs(share - confidence), count)


def _binned(p: np.ndarray, is_true: np.ndarray, num_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of examples in each bin, their mean probability and the share of them that is true."""
    index = np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], p)
    count, total, hits = (np.bincount(index, weights, num_bins) for weights in (None, p, is_true))
    return count, _ratio(total, count), _ratio(hits, count)


def _weighted(gap: np.ndarray, count: np.ndarray) -> float:
    return float(np.sum(np.nan_to_num(gap) * count) / count.sum())


def _ratio(top: np.ndarray, bottom: np.ndarray) -> Float64[np.ndarray, " num"]:
    return np.divide(top, bottom, out=np.full(len(bottom), np.nan), where=bottom > 0)
