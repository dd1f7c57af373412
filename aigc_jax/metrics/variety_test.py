"""Whether samples of a condition are less varied than real examples of it: entropies, and a permutation test.

Where there are about as many values as examples, no entropy has an interval that could be trusted: what was never seen
has no variance. Samples and real examples of one law can change places, however few they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.types import UsageError

NUM_PERMUTATIONS = 999

Values = Int[np.ndarray, " _"]


class VarietyTest(NamedTuple):
    """Entropy given the condition of two sets, and whether the first is less varied.

    Attributes:
        entropy: of the first set, in nats; mean over the conditions.
        reference: of the second.
        p_value: probability of a difference as large where both are of one law, one-sided.
    """

    entropy: float
    reference: float
    p_value: float


def variety_test(
    first: tuple[Values, Values],
    second: tuple[Values, Values],
    *,
    num_permutations: int = NUM_PERMUTATIONS,
    seed: int = 0,
) -> VarietyTest:
    """Compare how varied an attribute is in two sets of examples of the same conditions.

    The entropies are Miller and Madow's, of like bias only in sets of like size and law. The test is of Simpson's
    index ``1 - sum_v c_v (c_v - 1) / (n (n - 1))``, how often two examples of a condition differ, which has no bias:
    mean over the conditions, against sets that are mixed within each condition. What differs between conditions plays
    no part.

    Args:
        first: values of the attribute, and the conditions.
        second: those of the second set, of the same conditions.
        num_permutations: how often the sets are mixed; the least p-value is one over that and one.
        seed: of the permutations.

    Returns:
        Both entropies, and the p-value.

    Raises:
        UsageError: no examples, conditions of one set only, or of a single example.

    Reference:
        Simpson, "Measurement of diversity", 1949; Miller, "Note on the bias of information estimates", 1955;
        Phipson & Smyth, "Permutation P-values should never be zero", 2010.

    >>> condition = np.arange(40) % 2
    >>> found = variety_test((condition, condition), (np.arange(40) % 8, condition))
    >>> found.entropy, round(found.reference, 2), found.p_value
    (0.0, 1.46, 0.001)
    """
    rng, sets = np.random.default_rng(seed), (first, second)
    conditions = np.unique(np.concatenate([condition for _, condition in sets]))
    parts = [[values[condition == each] for values, condition in sets] for each in conditions]
    if not parts or min(len(part) for pair in parts for part in pair) < 2:
        raise UsageError("expected two examples or more of each condition in both sets: leave the other conditions out")
    # Entry 0 as it is, the others mixed: the counts of a random part are multivariate hypergeometric.
    differences = np.zeros(num_permutations + 1)
    for ours, theirs in parts:
        seen, place = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
        together = np.bincount(place, minlength=len(seen))
        own = np.bincount(place[: len(ours)], minlength=len(seen))
        mixed = rng.multivariate_hypergeometric(together, len(ours), size=num_permutations)
        counts = np.concatenate([own[None], mixed])
        differences += _simpson(counts, len(ours)) - _simpson(together - counts, len(theirs))
    # Equal but for rounding is as small.
    num_below = int(np.sum(differences[1:] <= differences[0] + 1e-9))
    entropy, reference = np.mean([[miller_madow(part) for part in pair] for pair in parts], axis=0)
    return VarietyTest(float(entropy), float(reference), (1 + num_below) / (num_permutations + 1))


def miller_madow(values: Values) -> float:
    """The entropy of what is seen, plus (values seen - 1) / (2 n), by which it is too low; in nats.

    >>> round(miller_madow(np.array([0, 1, 0, 1])), 4) == round(float(np.log(2)) + 1 / 8, 4)
    True
    """
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-np.sum(share * np.log(share)) + (len(share) - 1) / (2 * len(values)))


def _simpson(counts: np.ndarray, n: int) -> np.ndarray:
    """How often two of n examples differ, from the counts [..., value]."""
    return 1 - np.sum(counts * (counts - 1), axis=-1) / (n * (n - 1))
