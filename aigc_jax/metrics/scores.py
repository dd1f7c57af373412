"""Inception-style score: are samples clear, and their classes many, by the word of a classifier alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.special import log_softmax

from aigc_jax.types import UsageError


class InceptionScore(NamedTuple):
    """The score in its two usual forms; both in [1, num_classes].

    Attributes:
        mean: over the splits, as published tables have it.
        deviation: standard deviation over the splits, of one split; no standard error of ``mean``.
        unsplit: of all samples together, which does not depend on their order; >= ``mean``, or nearly.
        num_splits: number of splits.
        n: number of samples.
    """

    mean: float
    deviation: float
    unsplit: float
    num_splits: int
    n: int


def inception_score(
    logits: Float[np.ndarray, "num num_classes"] | Float[Array, "num num_classes"],
    *,
    num_splits: int = 10,
    seed: int | None = 0,
) -> InceptionScore:
    """``exp E_x KL(p(y | x) || p(y))``: the classes that samples show, each sample counting as far as it is clear.

    It never looks at real examples, so that a model which shows one perfect digit of each class has the highest score.
    A split of n samples sees fewer classes than there are: ten one-hot classes score below 10. Name the score with the
    classifier that gave the logits; it is the published Inception score with the TF-Inception network alone.

    Args:
        logits: of the classifier for each sample.
        num_splits: parts that are scored each by itself, >= 1.
        seed: of the order in which samples are dealt out to the splits, so that samples sorted by class do no harm;
            None for the order given.

    Returns:
        The score, in float64.

    Raises:
        UsageError: fewer samples than splits.

    Reference:
        Salimans et al., "Improved Techniques for Training GANs", 2016, section 4; Barratt & Sharma, "A Note on the
        Inception Score", 2018, for what it does not say.

    >>> score = inception_score(100.0 * np.eye(10)[np.arange(1000) % 10], seed=None)
    >>> round(score.mean, 6), round(score.unsplit, 6)
    (10.0, 10.0)
    """
    n, num_classes = logits.shape
    if not 1 <= num_splits <= n:
        raise UsageError(f"expected 1 <= num_splits <= {n} samples, got {num_splits}: ask for more samples")
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    rows, scores = np.asarray(logits), []
    total, total_negentropy = np.zeros(num_classes), 0.0
    for i in range(num_splits):
        part = order[i * n // num_splits : (i + 1) * n // num_splits]
        log_p = log_softmax(rows[part].astype(np.float64), axis=1)
        p = np.exp(log_p)
        negentropy = float(np.sum(p * log_p))
        scores.append(_score(p.sum(axis=0), negentropy, len(part)))
        total, total_negentropy = total + p.sum(axis=0), total_negentropy + negentropy
    unsplit = _score(total, total_negentropy, n)
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), unsplit, num_splits, n)


def _score(sum_of_p: np.ndarray, negentropy: float, n: int) -> float:
    """exp(mean of -H(p(y | x)) + H(p(y))), which is the mean divergence; a class of probability 0 adds nothing."""
    marginal = sum_of_p / n
    present = marginal[marginal > 0]
    return float(np.exp(negentropy / n - np.sum(present * np.log(present))))
