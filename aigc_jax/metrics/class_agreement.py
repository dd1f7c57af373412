"""Class agreement: the share of samples whose predicted class is their condition, as it is and corrected.

A classifier that misreads 3 % of real digits cannot show more than 97 % agreement, however good the model. Two
corrections: of each class by itself (Rogan & Gladen), and of all classes at once, by the confusion matrix. Both assume
that the classifier errs on samples as it does on real examples of the same class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Float64, Int, Int64
from scipy.optimize import nnls

from aigc_jax.metrics.intervals import NUM_RESAMPLES, clopper_pearson, percentile_interval
from aigc_jax.types import Metric, UsageError

Counts = Int[np.ndarray, "num_classes num_classes"]
"""Number of examples with a class (row) and a predicted class (column)."""

Correction = Literal["inversion", "rogan-gladen"]
"""``inversion``: by the whole confusion matrix. ``rogan-gladen``: each class against all others."""

MAX_CONDITION_NUMBER = 1e6

MAX_BLOCK = 2**22
"""Numbers in a block of resamples."""


class ClassAgreementState(NamedTuple):
    """What was asked for against what was seen.

    Attributes:
        confusion: number of samples with condition (row) and predicted class (column).
    """

    confusion: Int64[np.ndarray, "num_classes num_classes"]


def class_agreement(num_classes: int) -> Metric:
    """Share of samples whose predicted class is their condition.

    ``update`` takes the predicted classes and the conditions, both int [B]. ``compute`` gives

    - ``agreement`` with its 95 % Clopper-Pearson interval ``low``, ``high`` and its ``n``;
    - ``per_class`` [K], NaN for a class without samples, with ``per_class_low``, ``per_class_high``, ``per_class_n``;
    - ``worst_class``, the class of the lowest agreement (the first of equals), and ``worst_value``;
    - ``confusion`` [K, K], rows the condition, columns the prediction.

    Args:
        num_classes: conditions and predictions are 0 ... num_classes - 1.

    Returns:
        A metric whose state is :class:`ClassAgreementState`.

    >>> metric = class_agreement(2)
    >>> state = metric.update(metric.init(), np.array([0, 1, 0, 0]), np.array([0, 1, 0, 1]))
    >>> results = metric.compute(state)
    >>> results["agreement"], results["worst_class"], results["worst_value"]
    (0.75, 1, 0.5)
    """

    def init() -> ClassAgreementState:
        return ClassAgreementState(np.zeros((num_classes, num_classes), np.int64))

    def update(
        state: ClassAgreementState,
        predicted: Int[np.ndarray, " batch"] | Int[Array, " batch"],
        condition: Int[np.ndarray, " batch"] | Int[Array, " batch"],
    ) -> ClassAgreementState:
        rows, columns = np.asarray(condition, np.int64), np.asarray(predicted, np.int64)
        for name, values in (("condition", rows), ("predicted class", columns)):
            if values.size and (values.min() < 0 or values.max() >= num_classes):
                raise ValueError(
                    f"expected each {name} in 0 ... {num_classes - 1}, got {values.min()} ... {values.max()}"
                )
        counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
        return ClassAgreementState(state.confusion + counts.reshape(num_classes, num_classes))

    def merge(a: ClassAgreementState, b: ClassAgreementState) -> ClassAgreementState:
        return ClassAgreementState(a.confusion + b.confusion)

    return Metric(init, update, merge, _compute)


def _compute(state: ClassAgreementState) -> dict[str, Any]:
    """The shares and their intervals; see :func:`class_agreement`."""
    right, asked = np.diagonal(state.confusion), state.confusion.sum(axis=1)
    successes, n = int(right.sum()), int(asked.sum())
    low, high = clopper_pearson(successes, n)
    per_class = np.divide(right, asked, out=np.full(len(asked), np.nan), where=asked > 0)
    ends = np.array([clopper_pearson(int(r), int(a)) for r, a in zip(right, asked, strict=True)])
    worst = int(np.nanargmin(per_class)) if n else 0
    return {
        "agreement": successes / n if n else float("nan"),
        "low": low,
        "high": high,
        "n": n,
        "per_class": per_class,
        "per_class_low": ends[:, 0],
        "per_class_high": ends[:, 1],
        "per_class_n": asked,
        "worst_class": worst,
        "worst_value": float(per_class[worst]),
        "confusion": state.confusion,
    }


class CorrectedAgreement(NamedTuple):
    """Shares of samples that truly are of the class that was asked for.

    Attributes:
        agreement: over all samples.
        low: lower end of its interval.
        high: upper end.
        per_class: of each condition [K]; NaN where there are no samples, with the interval (0, 1).
        per_class_low: lower ends [K].
        per_class_high: upper ends [K].
        composition: the corrected share of each true class (column) among the samples of each condition (row), [K, K];
            None for ``rogan-gladen``, which tells a class only from the others.
        observed: share of samples whose predicted class is their condition, uncorrected.
        n: number of samples.
        num_real: number of real examples that the classifier's errors were measured on.
    """

    agreement: float
    low: float
    high: float
    per_class: Float64[np.ndarray, " num_classes"]
    per_class_low: Float64[np.ndarray, " num_classes"]
    per_class_high: Float64[np.ndarray, " num_classes"]
    composition: Float64[np.ndarray, "num_classes num_classes"] | None
    observed: float
    n: int
    num_real: int


def corrected_agreement(
    sample_counts: Counts,
    real_counts: Counts,
    *,
    method: Correction = "inversion",
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> CorrectedAgreement:
    """Class agreement with the classifier's own errors taken out, and its interval.

    With M[k, j] = P(predicted j | class k) from real examples, o[c, j] the predictions on the samples of condition c:

    - ``inversion`` solves p[c] M = o[c] for the shares p[c] of true classes, and takes p[c, c]. ``composition`` holds
      the nearest shares that are possible: >= 0 with sum 1, minimising ``|p[c] M - o[c]|``. Its diagonal is lower where
      noise would make other shares negative, 1.2 % for a perfect model, ten classes and 100 samples of each; the mean
      of the former is unbiased, so that the figures are it, confined to [0, 1] at last.
    - ``rogan-gladen`` takes ``(o[c, c] + specificity - 1) / (sensitivity + specificity - 1)``, clipped to [0, 1]. The
      specificity is that of all real examples of other classes together, so it is right where wrong samples are of the
      other classes in their real proportions; ``inversion`` needs no such assumption.

    The interval is a percentile bootstrap of the sample counts and of the real counts, row by row, of the estimate
    before it is confined to [0, 1]. On either side it reaches at least as far as the exact interval of the observed
    agreement, and as that of the classifier's own on real examples: counts without an error resample to none.

    Args:
        sample_counts: of samples, rows the condition (``confusion`` of
            :func:`aigc_jax.metrics.class_agreement.class_agreement`).
        real_counts: of held-out real examples, rows their label.
        method: which correction.
        num_resamples: of the bootstrap.
        confidence: of the intervals, in (0, 1).
        seed: of the resamples.

    Returns:
        The corrected shares.

    Raises:
        UsageError: there are no samples, a class has no real examples, or the classifier cannot tell classes apart, so
            that nothing can be concluded from its word.

    Reference:
        Rogan & Gladen, "Estimating prevalence from the results of a screening test", 1978, equation 2;
        Lipton, Wang & Smola, "Detecting and correcting for label shift with black box predictors", 2018,
        section 3, for the matrix.

    >>> real = np.array([[90, 10], [20, 80]])
    >>> samples = np.array([[900, 100], [200, 800]])
    >>> result = corrected_agreement(samples, real, num_resamples=100)
    >>> result.observed, round(result.agreement, 6)
    (0.85, 1.0)
    """
    real, samples = real_counts.astype(np.float64), sample_counts.astype(np.float64)
    _check(samples, real)
    raw = _inverted if method == "inversion" else _rogan_gladen
    asked = samples.sum(axis=1)
    shares = asked / asked.sum()
    estimate = raw(samples, real)
    if np.isnan(estimate[asked > 0]).any():
        raise UsageError(
            "the classifier does not tell the classes of real examples apart, so agreement by its word cannot be "
            "corrected: train a better classifier"
        )
    # A mean of estimates that are confined each by itself would be biased away from 0 and 1: confined after the mean.
    # A class that no sample was asked for has no say, even where it is NaN.
    agreement = float(np.clip(estimate[shares > 0] @ shares[shares > 0], 0.0, 1.0))
    per_class = np.clip(estimate, 0.0, 1.0)

    draws = _draws(raw, samples, real, num_resamples=num_resamples, seed=seed)
    right, right_real, of_class = _diagonal(samples), _diagonal(real), real.sum(axis=1)

    def interval(draws: np.ndarray, estimate: float, of: int | slice) -> tuple[float, float]:
        observed = right[of].sum(), asked[of].sum()
        of_classifier = right_real[of].sum(), of_class[of].sum()
        return _interval(draws, estimate, observed=observed, of_classifier=of_classifier, confidence=confidence)

    low, high = interval(draws[:, shares > 0] @ shares[shares > 0], agreement, slice(None))
    ends = [interval(draws[:, c], per_class[c], c) for c in range(len(asked))]
    return CorrectedAgreement(
        agreement=agreement,
        low=low,
        high=high,
        per_class=np.where(asked > 0, per_class, np.nan),
        per_class_low=np.array([end[0] for end in ends]),
        per_class_high=np.array([end[1] for end in ends]),
        composition=_compositions(samples, real) if method == "inversion" else None,
        observed=float(right.sum() / asked.sum()),
        n=int(asked.sum()),
        num_real=int(real.sum()),
    )


def _inverted(samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The share of each condition's own class by the inverse of the confusion matrix, [..., K]; NaN without one."""
    matrix = _rows(real)
    is_singular = np.linalg.cond(matrix) > MAX_CONDITION_NUMBER
    inverse = np.linalg.inv(np.where(is_singular[..., None, None], np.eye(matrix.shape[-1]), matrix))
    # diag(O M^-1) without the rest: rows of M sum to 1, hence those of its inverse too.
    own = np.einsum("...ij,...ji->...i", _rows(samples), inverse)
    return np.where(is_singular[..., None], np.nan, own)


def _rogan_gladen(samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The same by sensitivity and specificity; NaN for a class that is predicted as often where it is absent."""
    right, of_class = _diagonal(real), real.sum(axis=-1)
    others = real.sum(axis=(-2, -1))[..., None] - of_class
    false_alarm = (real.sum(axis=-2) - right) / np.maximum(others, 1)
    youden = right / of_class - false_alarm
    observed = _diagonal(_rows(samples))
    return np.divide(observed - false_alarm, youden, out=np.full(right.shape, np.nan), where=youden > 1e-9)


def _draws(
    raw: Callable[[np.ndarray, np.ndarray], np.ndarray],
    samples: np.ndarray,
    real: np.ndarray,
    *,
    num_resamples: int,
    seed: int,
) -> np.ndarray:
    """The estimates of resampled counts [num_resamples, K], in blocks that fit into memory."""
    rng, block = np.random.default_rng(seed), max(1, MAX_BLOCK // real.size)
    sizes = [min(block, num_resamples - start) for start in range(0, num_resamples, block)]
    return np.concatenate([raw(_resampled(rng, samples, size), _resampled(rng, real, size)) for size in sizes])


def _compositions(samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    matrix = _rows(real)
    return np.array([_on_simplex(row, matrix) for row in _rows(samples)])


def _on_simplex(observed: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The p >= 0 with sum 1 that minimises ``|p M - o|``.

    As sum(p) = 1, p M - o = p A with A = M - 1 o^T. The q >= 0 that minimises ``|q A|^2 + (sum(q) - 1)^2`` is a
    multiple of that p: over the length of q alone the minimum is f / (1 + f) with f = ``|p A|^2``, which rises with f.
    """
    system = np.concatenate([(matrix - observed[None]).T, np.ones((1, len(matrix)))])
    q, _ = nnls(system, np.append(np.zeros(len(matrix)), 1.0))
    return q / q.sum()


def _rows(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their row; a row without counts stays 0."""
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)


def _diagonal(table: np.ndarray) -> np.ndarray:
    return np.diagonal(table, axis1=-2, axis2=-1)


def _resampled(rng: np.random.Generator, counts: np.ndarray, num: int) -> np.ndarray:
    """As many examples of each row again, drawn from its own shares, [num, K, K]."""
    total, shares = counts.sum(axis=1), _rows(counts)
    shares[total == 0] = 1 / len(counts)
    return rng.multinomial(total.astype(np.int64), shares, size=(num, len(counts))).astype(np.float64)


def _interval(
    draws: np.ndarray,
    estimate: float,
    *,
    observed: tuple[float, float],
    of_classifier: tuple[float, float],
    confidence: float,
) -> tuple[float, float]:
    """The bootstrap's interval, as wide on either side as the exact ones of the two (right, all) are."""
    low, high = percentile_interval(draws, confidence)
    for (right, total), sign in ((observed, 1.0), (of_classifier, -1.0)):
        # The worse the classifier may be, the better the samples may be: its interval counts the other way round.
        ends = [sign * (end - right / max(total, 1.0)) for end in clopper_pearson(int(right), int(total), confidence)]
        low, high = min(low, estimate + min(ends)), max(high, estimate + max(ends))
    return min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)


def _check(samples: np.ndarray, real: np.ndarray) -> None:
    if samples.shape != real.shape or samples.shape[0] != samples.shape[1]:
        raise UsageError(f"expected two square tables of one size, got shapes {samples.shape} and {real.shape}")
    if not samples.sum():
        raise UsageError("expected samples to judge, got none: ask for at least one")
    if missing := np.flatnonzero(real.sum(axis=1) == 0).tolist():
        raise UsageError(
            f"the classifier's errors on classes {missing} are unknown without real examples of them: hold some out"
        )
