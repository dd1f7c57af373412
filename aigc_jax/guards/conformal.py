"""Sets of answers that hold the true one with a stated probability, by split conformal prediction."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

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
