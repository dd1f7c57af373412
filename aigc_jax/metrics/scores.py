"""Inception-style score: confident and diverse class predictions of a classifier on samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.special import log_softmax

from aigc_jax.metrics.checks import checked
from aigc_jax.types import UsageError


class InceptionScore(NamedTuple):
    """The score in its two usual forms; both in [1, num_classes]."""

    mean: float
    """Over the splits, as published tables have it."""
    unsplit: float
    """Of all samples together, which does not depend on their order; >= ``mean``, or nearly."""


def inception_score(
    logits: Float[np.ndarray, "num num_classes"] | Float[Array, "num num_classes"],
    *,
    num_splits: int = 10,
    seed: int | None = 0,
) -> InceptionScore:
    """``exp E_x KL(p(y | x) || p(y))``: effective number of classes among samples of confident predictions.

    It does not depend on real examples: a model of one perfect digit of each class has the highest score. A split of n
    samples sees fewer classes than there are: ten one-hot classes score below 10. Name the score with the classifier
    that gave the logits; only with the TF-Inception network it is the published Inception score.

    Args:
        logits: of the classifier for each sample.
        num_splits: parts that are scored each by itself, >= 1.
        seed: of the permutation of the samples before they are split, so that samples sorted by class do no harm;
            None for the given order.

    Returns:
        The score, in float64.

    Raises:
        ValueError: no [N, K] of numbers, NaN or +inf, or probabilities in place of logits.
        UsageError: fewer samples than splits.

    Reference:
        Salimans et al., "Improved Techniques for Training GANs", 2016, section 4; Barratt & Sharma, "A Note on the
        Inception Score", 2018, for its limits.

    >>> score = inception_score(100.0 * np.eye(10)[np.arange(1000) % 10], seed=None)
    >>> round(score.mean, 6), round(score.unsplit, 6)
    (10.0, 10.0)
    """
    (values,) = checked(logits=(logits, float, "num num_classes"))
    n, num_classes = values.shape
    if np.isnan(values).any() or np.isposinf(values).any():
        raise ValueError("expected logits without NaN and +inf: check the classifier and its inputs")
    if n and values.min() >= 0 and np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() < 1e-4:
        raise ValueError("expected logits, got probabilities (>= 0 with sum 1): pass their logarithm")
    if not 1 <= num_splits <= n:
        raise UsageError(f"expected 1 <= num_splits <= {n} samples, got {num_splits}: ask for more samples")
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    scores: list[float] = []
    total, total_negentropy = np.zeros(num_classes), 0.0
    for i in range(num_splits):
        part = order[i * n // num_splits : (i + 1) * n // num_splits]
        log_p = log_softmax(values[part].astype(np.float64), axis=1)
        p = np.exp(log_p)
        negentropy = float(np.sum(p * np.where(p > 0, log_p, 0.0)))
        scores.append(_score(p.sum(axis=0), negentropy, len(part)))
        total, total_negentropy = total + p.sum(axis=0), total_negentropy + negentropy
    unsplit = _score(total, total_negentropy, n)
    return InceptionScore(float(np.mean(scores)), unsplit)


def _score(sum_of_p: np.ndarray, negentropy: float, n: int) -> float:
    """exp(mean of -H(p(y | x)) + H(p(y))), which is the mean divergence; a class of probability 0 adds nothing."""
    marginal = sum_of_p / n
    present = marginal[marginal > 0]
    return float(np.exp(negentropy / n - np.sum(present * np.log(present))))
