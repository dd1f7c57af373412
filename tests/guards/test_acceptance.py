"""The filter by a rule: which samples it keeps, and a bound of its errors that holds."""

import numpy as np
import pytest
from scipy.stats import binomtest

from aigc_jax.guards.acceptance import Accepted, first_accepted, violation_bound


def divisible(by, calls=None):
    def draw(start, num):
        if calls is not None:
            calls.append((start, num))
        return np.arange(start, start + num)

    return draw, lambda samples, start: samples % by == 0


def test_the_first_accepted_are_kept_in_their_order():
    for num in (1, 3, 10):
        calls = []
        found = first_accepted(*divisible(3, calls), num, max_draws=1000, block_size=8)
        assert found.samples.tolist() == found.places.tolist() == list(range(0, 3 * num, 3))
        assert calls == [(8 * i, 8) for i in range(len(calls))]
        assert found.num_drawn == 8 * len(calls)
        assert found.num_passed == len(range(0, found.num_drawn, 3))


def test_the_budget_ends_the_search():
    found = first_accepted(*divisible(100), 3, max_draws=150, block_size=64)
    assert (found.samples.tolist(), found.num_passed, found.num_drawn) == ([0, 100], 2, 150)
    expected = binomtest(2, 150).proportion_ci(method="exact")
    assert found.acceptance == pytest.approx((2 / 150, expected.low, expected.high))
    none = first_accepted(
        lambda start, num: np.ones((num, 2)), lambda samples, start: samples[:, 0] > 1, 3, max_draws=10
    )
    assert none.samples.shape == (0, 2)


def test_the_bound_of_violations_covers_the_truth(rng):
    """Of a reader that passes a tenth of what breaks the rule, it fails in less than 5 % of the experiments."""
    acceptance, false, num = 0.3, 0.1, 200
    truth = 0.7 * false / (acceptance + 0.7 * false)
    failures = 0
    for _ in range(400):
        passed = rng.binomial(300, acceptance + 0.7 * false)
        kept = Accepted(np.zeros(passed), np.arange(passed), passed, 300)
        failures += violation_bound(rng.binomial(num, false), num, kept) < truth
    assert failures / 400 < 0.05


def test_the_bound_without_evidence_is_one():
    kept = Accepted(np.zeros(10), np.arange(10), 10, 10)
    assert violation_bound(0, 0, kept) == 1.0
    assert violation_bound(5, 5, kept) == 1.0
    assert violation_bound(0, 10_000, kept) < 1e-3
    assert violation_bound(0, 10, kept._replace(places=np.arange(0), num_passed=0)) == 1.0
