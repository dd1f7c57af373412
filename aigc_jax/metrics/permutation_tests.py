"""Permutation tests of the coverage of the data, and of the variety within a condition.

Samples and real examples of one distribution can change places: mixing them gives the distribution of any difference.
Neither statistic has a simpler test, since neighbours are covered by the same samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from scipy import sparse

from aigc_jax.metrics.checks import Features, checked, checked_features
from aigc_jax.metrics.neighbors import Manifold, features_of, manifold, tiles
from aigc_jax.types import UsageError

Values = Int[np.ndarray, " _"]


class CoverageTest(NamedTuple):
    """Shares of the real examples that each of two sets covers; p-value (one-sided) of so much less by the first."""

    coverage: float
    reference: float
    p_value: float


def coverage_test(
    real: Features | Manifold,
    first: Features,
    second: Features,
    *,
    k: int = 5,
    num_permutations: int = 2999,
    seed: int = 0,
) -> CoverageTest:
    """Permutation test of coverage: does the first of two sets cover fewer real examples than the second.

    Args:
        real: features of real examples [N, d], each with the ball to its k-th nearest other one; or their
            :func:`aigc_jax.metrics.neighbors.manifold` of k neighbours.
        first: features [M, d].
        second: features [M, d].
        k: neighbours, in 1 ... N - 1.
        num_permutations: how often the sets are mixed; the least p-value is one over that and one.
        seed: of the permutations.

    Returns:
        Both coverages, and the p-value.

    Raises:
        ValueError: no [N, d] of numbers, features of different lengths, or a manifold of fewer neighbours.
        UsageError: sets of two sizes, or too few real examples.

    Reference:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020, equation 4, for coverage;
        Phipson & Smyth, "Permutation P-values should never be zero", 2010, for the p-value.

    >>> line = np.arange(20.0)[:, None]
    >>> coverage_test(line, np.zeros((20, 1)), line, k=1).p_value < 0.01
    True
    """
    if len(first) != len(second):
        raise UsageError(f"expected two sets of one size, got {len(first)} and {len(second)}: take as many of each")
    values, first, second = checked_features(real=features_of(real), first=first, second=second)
    limits = manifold(real, k, title="reach of the data").radii(k) ** 2
    both, num = np.concatenate([first, second]), len(first)
    rows, columns = [], []
    for tile in tiles(values, both, title="covered examples"):
        row, column = np.nonzero(tile.squares <= limits[tile.rows, None])
        rows.append(row + tile.rows.start)
        columns.append(column + tile.columns.start)
    place = (np.concatenate(rows), np.concatenate(columns))
    is_held = sparse.csr_matrix((np.ones(len(place[0]), np.float32), place), shape=(len(values), 2 * num))
    rng = np.random.default_rng(seed)

    def coverages(is_first: np.ndarray) -> tuple[float, float]:
        counts = is_held @ np.stack([is_first, 1.0 - is_first], axis=1).astype(np.float32)
        shares = (counts > 0).mean(axis=0)
        return float(shares[0]), float(shares[1])

    mask = np.repeat([1.0, 0.0], num)
    coverage, reference = coverages(mask)
    mixed = [coverages(rng.permutation(mask)) for _ in range(num_permutations)]
    num_as_large = sum(other - own >= reference - coverage for own, other in mixed)
    return CoverageTest(coverage, reference, (1 + num_as_large) / (1 + num_permutations))


class VarietyTest(NamedTuple):
    """Mean entropy in nats given the condition, of two sets; p-value (one-sided) of so much less in the first."""

    entropy: float
    reference: float
    p_value: float


def variety_test(
    values: Values,
    condition: Values,
    reference_values: Values,
    reference_condition: Values,
    *,
    num_permutations: int = 999,
    seed: int = 0,
) -> VarietyTest:
    """Permutation test of variety: does an attribute vary less within a condition than in a reference set.

    The entropies are Miller and Madow's, whose biases are alike only in sets of like size and distribution. The test is
    of Simpson's index ``1 - sum_v c_v (c_v - 1) / (n (n - 1))``, how often two examples of a condition differ, which
    has no bias: mean over the conditions, against sets that are mixed within each condition. Differences between
    conditions do not count.

    Args:
        values: of the attribute.
        condition: of each example.
        reference_values: those of the reference set, such as real examples.
        reference_condition: theirs, the same conditions.
        num_permutations: how often the sets are mixed; the least p-value is one over that and one.
        seed: of the permutations.

    Returns:
        Both entropies, and the p-value.

    Raises:
        ValueError: other than integers, or not as many values as conditions.
        UsageError: no examples, conditions of one set only, or of a single example.

    Reference:
        Simpson, "Measurement of diversity", 1949; Miller, "Note on the bias of information estimates", 1955;
        Phipson & Smyth, "Permutation P-values should never be zero", 2010.

    >>> condition = np.arange(40) % 2
    >>> found = variety_test(condition, condition, np.arange(40) % 8, condition)
    >>> found.entropy, round(found.reference, 2), found.p_value
    (0.0, 1.46, 0.001)
    """
    rng = np.random.default_rng(seed)
    first = checked(values=(values, int, "num"), condition=(condition, int, "num"))
    second = checked(
        reference_values=(reference_values, int, "num"), reference_condition=(reference_condition, int, "num")
    )
    sets = (first, second)
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
    """Miller-Madow entropy in nats: the plug-in entropy plus its bias, (distinct values - 1) / (2 n)."""
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-np.sum(share * np.log(share)) + (len(share) - 1) / (2 * len(values)))


def _simpson(counts: np.ndarray, n: int) -> np.ndarray:
    """Simpson's index: how often two of n examples differ, from the counts [..., value]."""
    return 1 - np.sum(counts * (counts - 1), axis=-1) / (n * (n - 1))
