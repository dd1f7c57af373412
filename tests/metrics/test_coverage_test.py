"""The permutation test of coverage: as often wrong as it says, and not fooled by neighbouring places."""

import numpy as np
import pytest

from aigc_jax.metrics.coverage_test import coverage_test
from aigc_jax.metrics.precision_recall import overlap
from aigc_jax.types import UsageError

RNG = np.random.default_rng(0)


def test_it_counts_as_coverage_does():
    places, first, second = (RNG.normal(size=(n, 3)) for n in (80, 60, 60))
    found = coverage_test(places, first, second, num_permutations=9)
    assert found.coverage == overlap(places, first).coverage
    assert found.reference == overlap(places, second).coverage


@pytest.mark.parametrize("num_dims", [1, 4])
def test_chance_is_called_a_difference_no_more_often_than_said(num_dims):
    p_values = []
    for _ in range(120):
        sets = (RNG.normal(size=(n, num_dims)) for n in (60, 50, 50))
        p_values.append(coverage_test(*sets, num_permutations=99).p_value)
    # 5 % of 120, and what 1 in 1,000 such series exceed.
    assert np.sum(np.array(p_values) <= 0.05) <= 14


def test_a_lost_part_is_found():
    places, second = RNG.normal(size=(200, 2)), RNG.normal(size=(150, 2))
    wide = RNG.normal(size=(400, 2))
    first = wide[wide[:, 0] < 0.8][:150]
    assert coverage_test(places, first, second, num_permutations=999).p_value == pytest.approx(0.001)


def test_sets_of_two_sizes_are_refused():
    with pytest.raises(UsageError, match="one size"):
        coverage_test(np.zeros((9, 1)), np.zeros((3, 1)), np.zeros((4, 1)))
