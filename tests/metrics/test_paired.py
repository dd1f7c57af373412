"""Paired differences against simulations with a known truth."""

import numpy as np
import pytest

from aigc_jax.metrics.paired import paired_difference
from aigc_jax.types import UsageError


def table(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_no_case_at_all_leaves_wilsons_doubt():
    # Wilson's 95 % interval of 0 of 10 is (0, 0.2775).
    found = paired_difference(*table(0, 0, 0, 10))
    assert found.low == pytest.approx(-0.2775, abs=1e-4)
    assert found.high == pytest.approx(0.2775, abs=1e-4)


def test_swapping_the_runs_turns_the_difference():
    found, turned = paired_difference(*table(90, 6, 1, 3)), paired_difference(*table(90, 1, 6, 3))
    assert found.value == pytest.approx(0.05)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert found.low < 0.05 < found.high


@pytest.mark.parametrize("shares", [(0.9, 0.05, 0.02, 0.03), (0.005, 0.005, 0.0, 0.99), (0.25, 0.25, 0.25, 0.25)])
def test_the_interval_covers_the_truth(shares):
    counts = np.random.default_rng(0).multinomial(200, shares, size=400)
    found = [paired_difference(*table(*each)) for each in counts]
    truth = shares[1] - shares[2]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.92


def test_nothing_to_compare_is_refused():
    with pytest.raises(UsageError, match="at least one"):
        paired_difference(np.zeros(0, bool), np.zeros(0, bool))
