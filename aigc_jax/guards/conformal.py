"""Conformal methods: sets of answers that hold the true one, and filters whose mean loss is controlled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from aigc_jax.guards.assess import Scores
from aigc_jax.metrics.checks import checked
from aigc_jax.types import UsageError


class AnswerSets(NamedTuple):
    """A calibrated rule that answers a question by a set of candidates."""

    threshold: float
    """The least probability of a candidate in a set; -inf, which takes all, where too few questions calibrated it."""
    alpha: float
    """The share of questions, at most, whose set lacks the true answer."""
    num: int
    """Number of calibrating questions."""

    def sets(self, probabilities: Float[np.ndarray, "question candidate"]) -> Bool[np.ndarray, "question candidate"]:
        """The candidates of each set; those without a probability (NaN) are in it."""
        return ~(probabilities < self.threshold)


def answer_sets(probability_of_truth: Float[np.ndarray, " question"], alpha: float) -> AnswerSets:
    """Calibrate sets that miss the true answer of a new question with a probability of at most ``alpha``.

    The guarantee is over the draw of the calibrating questions and of the new one, which must be exchangeable: drawn
    from the same questions in the same way. It holds for any model; a poor one has large sets. It needs the true answer
    among the candidates: of a question without it no set can hold it.

    Args:
        probability_of_truth: of the true answer to each calibrating question; 0 where it is no candidate.
        alpha: in (0, 1).

    Returns:
        The sets. With fewer than ``1 / alpha - 1`` questions no threshold keeps the promise, and all is in each set.

    Raises:
        UsageError: alpha is out of range, or there are no questions.

    Reference:
        Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, section 2.2; Sadinle, Lei, Wasserman,
        "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", 2019, equation 5.

    >>> found = answer_sets(np.linspace(0.01, 1.0, 100), alpha=0.1)
    >>> round(found.threshold, 2)
    0.1
    """
    if not 0 < alpha < 1:
        raise UsageError(f"expected alpha in (0, 1), got {alpha}: 0.05 is usual")
    (values,) = checked(probability_of_truth=(probability_of_truth, float, "num"))
    num = len(values)
    if not num:
        raise UsageError("expected questions to calibrate by, got none: give more")
    # The k-th smallest: a new question's falls below it with probability k / (n + 1) at most.
    k = math.floor(alpha * (num + 1))
    ordered = np.sort(np.nan_to_num(values, nan=0.0))
    return AnswerSets(float(ordered[k - 1]) if k else -math.inf, alpha, num)


class MeanLossThreshold(NamedTuple):
    """A calibrated filter of samples that are unreliable to a degree."""

    value: float
    """The largest score that is accepted; -inf, which accepts nothing, where no threshold controls the loss."""
    acceptance: float
    """Share of the labelled samples that it accepts."""
    risk: float
    """Their mean loss, those that are left out counted with 0."""
    alpha: float
    """The largest mean loss that was allowed."""
    n: int
    """Number of labelled samples."""

    @property
    def delta(self) -> float:
        """0: the guarantee is of an expectation over labelled samples and new ones, not of most sets of labels."""
        return 0.0

    @property
    def is_certified(self) -> bool:
        """Whether there is a guarantee; without one nothing is accepted."""
        return self.value > -math.inf

    @property
    def guarantee(self) -> str:
        """The guarantee in one sentence, or why there is none."""
        if self.is_certified:
            return (
                f"The expected loss of a drawn sample, 0 if it is left out, is at most {self.alpha:g}, over the "
                f"draw of the {self.n} labelled samples and of its own."
            )
        return (
            f"No threshold keeps the expected loss at {self.alpha:g}: nothing is accepted. It takes "
            f"{math.ceil(1 / self.alpha) - 1} labelled samples or more."
        )

    def accepts(self, scores: Float[np.ndarray, " num"] | Float[Array, " num"]) -> Bool[np.ndarray, " num"]:
        """Which samples pass: those with a score of at most ``value``; never one whose score is NaN."""
        return (np.asarray(scores, np.float64) <= self.value) & self.is_certified


def control_mean_loss(scores: Scores, losses: Float[np.ndarray, " num"], alpha: float) -> MeanLossThreshold:
    """Find the largest threshold that keeps the expected loss of a sample, 0 if it is left out, at ``alpha``.

    For labels that are no yes or no, such as the share of wrong words of a text. A sample's loss can only grow with the
    threshold, which is all that is asked of the score: a useless one accepts little.

    Args:
        scores: one per labelled sample, higher = less reliable. Samples must be like those that will be filtered, and
            must not have chosen the detector.
        losses: of each, in [0, 1].
        alpha: the expected loss that is allowed, in (0, 1).

    Returns:
        The threshold. Where none controls the loss it accepts nothing, and says so.

    Raises:
        UsageError: alpha or a loss is out of range, or there are no samples.

    Reference:
        Angelopoulos et al., "Conformal Risk Control", 2022, equation 4 and theorem 1, with B = 1.

    >>> scores = np.arange(1000.0)
    >>> found = control_mean_loss(scores, np.where(scores < 500, 0.01, 0.2), alpha=0.02)
    >>> found.value, round(found.risk, 4)
    (569.0, 0.019)
    """
    if not 0 < alpha < 1:
        raise UsageError(f"expected alpha in (0, 1), got {alpha}: 0.05 is usual")
    values, loss = checked(scores=(scores, float, "num"), losses=(losses, float, "num"))
    if not len(values) or not ((loss >= 0) & (loss <= 1)).all():
        raise UsageError("expected labelled samples with losses in [0, 1], got none or others: divide by the largest")
    values, n = np.where(np.isnan(values), np.inf, values.astype(np.float64)), len(values)
    order = np.argsort(values, kind="stable")
    rising = values[order]
    last = np.append(np.flatnonzero(rising[1:] != rising[:-1]), n - 1)
    # n / (n + 1) R_n + B / (n + 1) <= alpha; R_n rises with the threshold.
    total = np.cumsum(loss[order].astype(np.float64))[last]
    num_controlled = int(np.sum((total + 1) / (n + 1) <= alpha))
    if num_controlled == 0:
        return MeanLossThreshold(-math.inf, 0.0, 0.0, alpha, n)
    best = last[num_controlled - 1]
    # The loss stays as it is up to the next score of a labelled sample; the threshold is this one's, which is stricter.
    value = float(rising[best])
    return MeanLossThreshold(value, float((best + 1) / n), float(total[num_controlled - 1] / n), alpha, n)
