"""How varied an attribute is that the condition leaves free: its entropy given the condition, with an interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from scipy.stats import norm

from aigc_jax.metrics.agreement import clopper_pearson
from aigc_jax.types import UsageError


class ConditionalEntropy(NamedTuple):
    """H(attribute | condition), in nats.

    Attributes:
        value: mean over the conditions, each counting the same.
        low: lower end of its 95 % interval.
        high: upper end.
        per_condition: the entropy in each condition that occurs, rising [C].
        n: number of samples.
    """

    value: float
    low: float
    high: float
    per_condition: Float64[np.ndarray, " num_conditions"]
    n: int


def conditional_entropy(
    attribute: Int[np.ndarray, " num"], condition: Int[np.ndarray, " num"], num_values: int
) -> ConditionalEntropy:
    """Entropy of an attribute in each condition, and their mean.

    The estimate is Miller and Madow's. Its interval is normal, of the variance to the second order (the first vanishes
    where all values are equally likely); a bootstrap would be off, as its resamples show fewer values than the sample.
    Where every condition showed one value only, the upper end is Fano's bound at the exact bound of the share that may
    yet show another.

    Args:
        attribute: what each sample shows.
        condition: what it was asked for; equal numbers where nothing was.
        num_values: K >= 2, the values that the attribute can take.

    Returns:
        The entropy.

    Raises:
        UsageError: no samples, or an attribute of one value.

    Reference:
        Miller, "Note on the bias of information estimates", 1955; Harris, "The statistical estimation of entropy in the
        non-parametric case", 1975, for the variance; Cover & Thomas, "Elements of Information Theory", theorem 2.10.1.

    >>> found = conditional_entropy(np.array([0, 1, 0, 1, 2, 2]), np.array([0, 0, 0, 0, 1, 1]), 3)
    >>> found.per_condition.round(3).tolist()
    [0.818, 0.0]
    """
    if num_values < 2 or not len(attribute):
        raise UsageError(f"expected samples of an attribute of 2 values or more, got {len(attribute)} of {num_values}")
    parts = [attribute[condition == each] for each in np.unique(condition)]
    per_condition = np.array([miller_madow(part) for part in parts])
    value = float(per_condition.mean())
    reach = float(norm.ppf(0.975) * np.sqrt(sum(_variance(part) for part in parts)) / len(parts))
    low, high = max(value - reach, 0.0), value + reach
    if not per_condition.any():
        high = fano(clopper_pearson(len(attribute), len(attribute))[0], num_values)
    return ConditionalEntropy(value, low, high, per_condition, len(attribute))


def miller_madow(values: Int[np.ndarray, " num"]) -> float:
    """The entropy of what is seen, plus (values seen - 1) / (2 n), by which it is too low; in nats.

    >>> round(miller_madow(np.array([0, 1, 0, 1])), 4) == round(float(np.log(2)) + 1 / 8, 4)
    True
    """
    share = _shares(values)
    return float(-np.sum(share * np.log(share)) + (len(share) - 1) / (2 * len(values)))


def fano(share: float, num_values: int) -> float:
    """The largest entropy of an attribute one of whose values has this share, in nats.

    >>> fano(0.5, 2) == float(np.log(2))
    True
    """
    rest = 1 - share
    return float(-(share * np.log(share) + rest * np.log(rest)) + rest * np.log(num_values - 1))


def _variance(values: Int[np.ndarray, " num"]) -> float:
    """Of the estimate: that of -ln p, over n, and (K - 1) / (2 n^2)."""
    share, n = _shares(values), len(values)
    surprise = -np.log(share)
    spread = np.sum(share * surprise**2) - np.sum(share * surprise) ** 2
    return float(max(spread, 0.0) / n + (len(share) - 1) / (2 * n**2))


def _shares(values: Int[np.ndarray, " num"]) -> Float64[np.ndarray, " value"]:
    return np.unique(values, return_counts=True)[1] / len(values)
