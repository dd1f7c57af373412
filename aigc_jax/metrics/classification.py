"""Quality of a classifier on examples with known classes: accuracy, F1, precision-recall area, calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float64, Int
from sklearn.metrics import average_precision_score

from aigc_jax.metrics.checks import check_range, checked
from aigc_jax.types import UsageError


class ClassifierQuality(NamedTuple):
    """Quality of the predictions of known classes."""

    accuracy: float
    f1: Float64[np.ndarray, " num_classes"]
    """NaN for a class that neither occurs nor is predicted."""
    average_precision: Float64[np.ndarray, " num_classes"]
    """Area under the precision-recall curve, without interpolation; NaN for no or only examples of a class."""
    calibration_error: float
    """Mean of |accuracy - confidence| of the bin; biased upwards: a calibrated classifier does not score 0."""


def classifier_quality(
    probabilities: Float[np.ndarray, "num num_classes"] | Float[Array, "num num_classes"],
    truth: Int[np.ndarray, " num"] | Int[Array, " num"],
    *,
    num_bins: int = 15,
) -> ClassifierQuality:
    """Accuracy, F1 and average precision of each class, and expected calibration error.

    Args:
        probabilities: of each class for each example, >= 0 with sum 1.
        truth: the true classes.
        num_bins: bins of equal width of the calibration error, >= 1: bin i of n holds the confidences in
            (i / n, (i + 1) / n], the first also 0.

    Returns:
        The quality. The usual macro F1 is ``np.nanmean(f1)``.

    Raises:
        ValueError: arrays of other kinds or lengths, or numbers that are no probabilities or no classes.
        UsageError: there are no examples.

    Reference:
        Opitz & Burst, "Macro F1 and Macro F1", 2019, equation 2 (the mean of F1, not the F1 of means); Guo et al., "On
        Calibration of Modern Neural Networks", 2017, equation 3.

    >>> result = classifier_quality(np.array([[0.8, 0.2]] * 10), np.array([0] * 6 + [1] * 4))
    >>> result.accuracy, result.f1.round(2).tolist(), round(result.calibration_error, 6)
    (0.6, [0.75, 0.0], 0.2)
    """
    p, truth = checked(probabilities=(probabilities, float, "num num_classes"), truth=(truth, int, "num"))
    if not len(p):
        raise UsageError("expected examples to score, got none: ask for at least one")
    p, num_classes = p.astype(np.float64), p.shape[1]
    if not (p.min() >= 0 and np.abs(p.sum(axis=1) - 1).max() < 1e-3):
        raise ValueError(
            f"expected probabilities >= 0 with sum 1, got {p.min():g} ... {p.max():g} with sums "
            f"{p.sum(axis=1).min():g} ... {p.sum(axis=1).max():g}: apply softmax first"
        )
    check_range("each true class", truth, 0, num_classes - 1)
    predicted, is_class = p.argmax(axis=1), truth[:, None] == np.arange(num_classes)
    has_both = is_class.any(axis=0) & ~is_class.all(axis=0)
    areas = np.full(num_classes, np.nan)
    areas[has_both] = [average_precision_score(is_class[:, k], p[:, k]) for k in np.flatnonzero(has_both)]
    is_right = predicted == truth
    num_right, *sizes = (np.bincount(each, minlength=num_classes) for each in (truth[is_right], truth, predicted))
    f1 = np.divide(2 * num_right, sum(sizes), out=np.full(num_classes, np.nan), where=sum(sizes) > 0)
    # sum over bins of (n_bin / n) |accuracy - confidence| = |sum of (is_right - confidence)| / n, bin by bin.
    bins = np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], p.max(axis=1))
    error = np.abs(np.bincount(bins, is_right - p.max(axis=1))).sum() / len(p)
    return ClassifierQuality(float(is_right.mean()), f1, areas, float(error))
