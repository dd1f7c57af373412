"""Whether samples cover less of the data than as many real examples do: a permutation test.

Neighbouring places are covered by the same samples, so that their number says nothing of how sure a coverage is.
Samples and real examples of one law can change places: what changing them gives is the law of the difference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from aigc_jax.metrics.neighbors import Features, checked_features, nearest_others, tiles
from aigc_jax.types import UsageError

NUM_PERMUTATIONS = 2999


class CoverageTest(NamedTuple):
    """Coverage by two sets, and whether the first covers less.

    Attributes:
        coverage: share of the places that the first set covers.
        reference: share that the second covers.
        p_value: probability of a difference as large where both are of one law, one-sided.
    """

    coverage: float
    reference: float
    p_value: float


def coverage_test(
    places: Features,
    first: Features,
    second: Features,
    *,
    k: int = 5,
    num_permutations: int = NUM_PERMUTATIONS,
    seed: int = 0,
) -> CoverageTest:
    """Compare the coverage of the same places by two sets of one size.

    Args:
        places: features of real examples [N, d], each with the ball to its k-th nearest other one.
        first: features [M, d].
        second: features [M, d].
        k: neighbours, in 1 ... N - 1.
        num_permutations: how often the sets are mixed; the least p-value is one over that and one.
        seed: of the permutations.

    Returns:
        Both coverages, and the p-value.

    Raises:
        UsageError: sets of two sizes, or too few places.

    Reference:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020, equation 4, for coverage;
        Phipson & Smyth, "Permutation P-values should never be zero", 2010, for the p-value.

    >>> line = np.arange(20.0)[:, None]
    >>> coverage_test(line, np.zeros((20, 1)), line, k=1).p_value < 0.01
    True
    """
    if len(first) != len(second):
        raise UsageError(f"expected two sets of one size, got {len(first)} and {len(second)}: take as many of each")
    places, first, second = checked_features(places=places, first=first, second=second)
    limits = nearest_others(places, k, title="reach of the data").distances[:, k - 1] ** 2
    both, num = np.concatenate([first, second]), len(first)
    rows, columns = [], []
    for tile in tiles(places, both, title="covered places"):
        row, column = np.nonzero(tile.squares <= limits[tile.rows, None])
        rows.append(row + tile.rows.start)
        columns.append(column + tile.columns.start)
    place = (np.concatenate(rows), np.concatenate(columns))
    holds = sparse.csr_matrix((np.ones(len(place[0]), np.float32), place), shape=(len(places), 2 * num))
    rng = np.random.default_rng(seed)

    def lack(is_first: np.ndarray) -> tuple[float, float]:
        counts = holds @ np.stack([is_first, 1.0 - is_first], axis=1).astype(np.float32)
        shares = (counts > 0).mean(axis=0)
        return float(shares[0]), float(shares[1])

    mask = np.repeat([1.0, 0.0], num)
    coverage, reference = lack(mask)
    seen = [lack(rng.permutation(mask)) for _ in range(num_permutations)]
    num_worse = sum(other - own >= reference - coverage for own, other in seen)
    return CoverageTest(coverage, reference, (1 + num_worse) / (1 + num_permutations))
