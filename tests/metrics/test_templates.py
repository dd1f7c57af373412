"""The comparison of prompt templates: unbiased by the choice, with intervals that cover."""

import numpy as np
import pytest

from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.templates import compare_templates
from aigc_jax.types import UsageError


@pytest.mark.slow
def test_compare_templates_measures_the_winner_on_cases_it_was_not_chosen_on(rng):
    """Of 40 templates that are right half of the time, the chosen one is measured at a half, not at its luck."""
    shares, lucky = [], []
    for seed in range(200):
        is_right = rng.random((40, 40)) < 0.5
        found = compare_templates(is_right, seed)
        shares.append(found.shares[found.winner][0])
        lucky.append(is_right.mean(axis=1).max())
    error = 0.5 / np.sqrt(20 * 200)
    assert abs(np.mean(shares) - 0.5) < 4 * error
    assert np.mean(lucky) > 0.6  # as the best of all would be reported


def test_compare_templates_has_exact_intervals_and_paired_differences():
    is_right = np.zeros((3, 60), bool)
    is_right[0] = True
    is_right[1, ::2] = True
    found = compare_templates(is_right)
    assert found.winner == 0
    assert found.num_cases == 30
    for value, low, high in found.shares:
        assert (low, high) == clopper_pearson(round(30 * value), 30)
    assert found.differences[0] == (0.0, 0.0, 0.0)
    for (value, low, high), (share, _, _) in zip(found.differences[1:], found.shares[1:], strict=True):
        assert value == pytest.approx(share - 1)
        assert low <= value < high < 0
    assert found.sensitivity == (1.0, 1.0, 1.0)


@pytest.mark.slow
def test_compare_templates_sensitivity_interval_holds_the_spread(rng):
    probs = np.array([0.2, 0.5, 0.9])
    covered = 0
    for seed in range(60):
        _, low, high = compare_templates(rng.random((3, 400)) < probs[:, None], seed).sensitivity
        covered += low <= 0.7 <= high
    assert covered >= 60 * 0.95 - 4 * np.sqrt(60 * 0.95 * 0.05)


def test_compare_templates_refuses_a_single_case():
    with pytest.raises(UsageError, match="at least 2 cases"):
        compare_templates(np.ones((2, 1), bool))
