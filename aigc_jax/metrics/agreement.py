"""Class agreement: do samples show the class they were asked for, by the word of a classifier."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int, Int64
from scipy.stats import beta

from aigc_jax.types import Metric


class ClassAgreementState(NamedTuple):
    """What was asked for against what was seen.

    Attributes:
        confusion: number of samples with condition (row) and predicted class (column).
    """

    confusion: Int64[np.ndarray, "num_classes num_classes"]


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a probability after ``successes`` in ``n`` independent trials.

    Args:
        successes: 0 ... n.
        n: number of trials, >= 0.
        confidence: probability that the interval covers the truth, at least, in (0, 1).

    Returns:
        Its lower and upper end; (0, 1) where there were no trials. n successes in n trials give an upper
        end of 1 and a lower one below 1: a bound, never a certainty.

    Raises:
        ValueError: more successes than trials, or a negative number.

    Reference:
        Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the
        binomial", Biometrika 1934.

    >>> [round(end, 4) for end in clopper_pearson(1000, 1000)]
    [0.9963, 1.0]
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} and {n}")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def standardized_share(
    is_so: Bool[np.ndarray, " num_real"], stratum: Int[np.ndarray, " num_real"], like: Int[np.ndarray, " num"]
) -> float:
    """The share of real examples of which something is so, each stratum weighing as it does among the samples.

    Samples are asked for classes in other shares than real examples have; the plain share of these is then no figure
    to hold beside that of the samples.

    Args:
        is_so: of each real example.
        stratum: of each real example.
        like: of each sample.

    Returns:
        The share; strata without real examples have no say. NaN where no stratum has any.

    Reference:
        Direct standardisation: Fleiss, Levin & Paik, "Statistical Methods for Rates and Proportions", 2003, chapter 19.

    >>> right, label = np.array([True, True, False]), np.array([0, 0, 1])
    >>> standardized_share(right, label, np.array([0, 1])), standardized_share(right, label, np.array([0, 2]))
    (0.5, 1.0)
    """
    shared = [each for each in np.unique(like) if (stratum == each).any()]
    if not shared:
        return float("nan")
    weights = [np.sum(like == each) for each in shared]
    return float(np.average([np.mean(is_so[stratum == each]) for each in shared], weights=weights))


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
