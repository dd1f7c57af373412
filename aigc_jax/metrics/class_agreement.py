"""Class agreement: the share of samples whose predicted class is their condition, as it is and corrected.

A classifier that misreads 3 % of real digits cannot show more than 97 % agreement. The correction inverts its confusion
matrix on real examples; it assumes the same errors on samples as on real examples of the same class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float64, Int, Int64

from aigc_jax.metrics.checks import check_range, checked
from aigc_jax.metrics.intervals import NUM_RESAMPLES, clopper_pearson, percentile_interval
from aigc_jax.types import UsageError

Classes = Int[np.ndarray, " num"] | Int[Array, " num"]
"""One class per example, 0 ... num_classes - 1."""

Counts = Int[np.ndarray, "num_classes num_classes"]
"""Number of examples with a class (row) and a predicted class (column)."""

MAX_CONDITION_NUMBER = 1e6
"""Of a confusion matrix that is inverted."""

MAX_BLOCK = 2**22
"""Numbers in a block of resamples."""


class ClassAgreement(NamedTuple):
    """Agreement of the predicted classes of samples with their conditions."""

    agreement: float
    """NaN without samples."""
    low: float
    """Lower end of its 95 % Clopper-Pearson interval."""
    high: float
    n: int
    per_class: Float64[np.ndarray, " num_classes"]
    """NaN for a class without samples."""
    per_class_n: Int64[np.ndarray, " num_classes"]
    worst_class: int
    """The class of the lowest agreement, the first of equals."""
    worst_value: float
    confusion: Int64[np.ndarray, "num_classes num_classes"]
    """Rows the condition, columns the prediction."""


def class_agreement(predicted: Classes, condition: Classes, num_classes: int) -> ClassAgreement:
    """Share of samples whose predicted class is their condition.

    Args:
        predicted: class that the classifier sees in each sample.
        condition: class that each sample was drawn for.
        num_classes: K.

    Returns:
        The shares and the confusion matrix.

    Raises:
        ValueError: no integers in 0 ... K - 1, or not as many of each.

    >>> result = class_agreement(np.array([0, 1, 0, 0]), np.array([0, 1, 0, 1]), 2)
    >>> result.agreement, result.worst_class, result.worst_value
    (0.75, 1, 0.5)
    """
    predicted, condition = checked(predicted=(predicted, int, "num"), condition=(condition, int, "num"))
    check_range("each condition", condition, 0, num_classes - 1)
    check_range("each predicted class", predicted, 0, num_classes - 1)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (condition, predicted), 1)
    right, per_class_n = np.diagonal(confusion), confusion.sum(axis=1)
    per_class = np.divide(right, per_class_n, out=np.full(num_classes, np.nan), where=per_class_n > 0)
    successes, n = int(right.sum()), len(condition)
    worst = int(np.nanargmin(per_class)) if n else 0
    agreement, ends = successes / n if n else float("nan"), clopper_pearson(successes, n)
    return ClassAgreement(agreement, *ends, n, per_class, per_class_n, worst, float(per_class[worst]), confusion)


class CorrectedAgreement(NamedTuple):
    """Share of samples that truly show their condition, and the ends of its interval."""

    agreement: float
    low: float
    high: float
    per_class: Float64[np.ndarray, " num_classes"]
    """NaN where there are no samples."""
    n: int


def corrected_agreement(
    sample_counts: Counts, real_counts: Counts, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> CorrectedAgreement:
    """Class agreement without the classifier's own errors, and its interval.

    With M[k, j] = P(predicted j | class k) from real examples and o[c, j] the predictions on the samples of condition
    c, solve p[c] M = o[c] for the shares p[c] of true classes, and take p[c, c]. Shares of single conditions may leave
    [0, 1] by noise; their mean is unbiased, and is confined to [0, 1] last.

    The interval is a percentile bootstrap of the sample counts and of the real counts, row by row, of the estimate
    before it is confined. On either side it reaches at least as far as the exact interval of the observed agreement,
    and as that of the classifier's own on real examples: counts without an error resample to none.

    Args:
        sample_counts: of samples, rows the condition (``confusion`` of :func:`class_agreement`).
        real_counts: of held-out real examples, rows their label.
        num_resamples: of the bootstrap.
        seed: of the resamples.

    Returns:
        The corrected shares.

    Raises:
        ValueError: no two square tables of counts of one size.
        UsageError: there are no samples, a class has no real examples, or the classifier cannot tell classes apart, so
            that nothing can be concluded from its predictions.

    Reference:
        Lipton, Wang & Smola, "Detecting and correcting for label shift with black box predictors", 2018, section 3.

    >>> real = np.array([[90, 10], [20, 80]])
    >>> samples = np.array([[900, 100], [200, 800]])
    >>> round(corrected_agreement(samples, real, num_resamples=100).agreement, 6)
    1.0
    """
    samples, real = _checked_counts(sample_counts, real_counts)
    requested = samples.sum(axis=1)
    shares = requested / requested.sum()
    estimate = _inverted(samples, real)
    if np.isnan(estimate[requested > 0]).any():
        raise UsageError(
            "the classifier does not tell the classes of real examples apart, so that agreement cannot be corrected "
            "by its errors: train a better classifier"
        )
    # A mean of estimates that are confined each by itself would be biased away from 0 and 1: confined after the mean.
    # A class without samples has no weight, even where it is NaN.
    agreement = float(np.clip(estimate[shares > 0] @ shares[shares > 0], 0.0, 1.0))
    draws = _resampled_estimates(samples, real, num_resamples=num_resamples, seed=seed)
    low, high = percentile_interval(draws[:, shares > 0] @ shares[shares > 0])
    # The worse the classifier may be, the better the samples may be: its interval counts the other way round.
    for counts, sign in ((samples, 1.0), (real, -1.0)):
        right, total = int(np.trace(counts)), int(counts.sum())
        ends = [sign * (end - right / total) for end in clopper_pearson(right, total)]
        low, high = min(low, agreement + min(ends)), max(high, agreement + max(ends))
    per_class = np.where(requested > 0, np.clip(estimate, 0.0, 1.0), np.nan)
    return CorrectedAgreement(agreement, max(low, 0.0), min(high, 1.0), per_class, int(requested.sum()))


def _checked_counts(sample_counts: Counts, real_counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    samples, real = checked(
        sample_counts=(sample_counts, int, "num_classes num_classes"),
        real_counts=(real_counts, int, "num_classes num_classes"),
    )
    for name, counts in (("sample_counts", samples), ("real_counts", real)):
        check_range(name, counts, 0, np.inf)
    if not samples.sum():
        raise UsageError("expected samples, got none: ask for at least one")
    if missing := np.flatnonzero(real.sum(axis=1) == 0).tolist():
        raise UsageError(
            f"the classifier's errors on classes {missing} are unknown without real examples of them: hold some out"
        )
    return samples.astype(np.float64), real.astype(np.float64)


def _inverted(samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The share of each condition's own class by the inverse of the confusion matrix, [..., K]; NaN without one."""
    matrix = _as_shares(real)
    is_singular = np.linalg.cond(matrix) > MAX_CONDITION_NUMBER
    inverse = np.linalg.inv(np.where(is_singular[..., None, None], np.eye(matrix.shape[-1]), matrix))
    # diag(O M^-1) without the rest: rows of M sum to 1, hence those of its inverse too.
    own = np.einsum("...ij,...ji->...i", _as_shares(samples), inverse)
    return np.where(is_singular[..., None], np.nan, own)


def _resampled_estimates(samples: np.ndarray, real: np.ndarray, *, num_resamples: int, seed: int) -> np.ndarray:
    """The estimates of resampled counts [num_resamples, K], in blocks that fit into memory."""
    rng, block = np.random.default_rng(seed), max(1, MAX_BLOCK // real.size)

    def resampled(counts: np.ndarray, num: int) -> np.ndarray:
        total, shares = counts.sum(axis=1), _as_shares(counts)
        shares[total == 0] = 1 / len(counts)
        return rng.multinomial(total.astype(np.int64), shares, size=(num, len(counts))).astype(np.float64)

    sizes = [min(block, num_resamples - start) for start in range(0, num_resamples, block)]
    return np.concatenate([_inverted(resampled(samples, size), resampled(real, size)) for size in sizes])


def _as_shares(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their row; a row without counts stays 0."""
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
