"""Guarded samplers: which samples they keep, and a bound that holds of one guard and of several."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from aigc_jax.guards.acceptance import Guard, guarded, guarded_by_all
from aigc_jax.guards.calibration import Threshold, calibrate
from aigc_jax.types import UsageError

THRESHOLD = Threshold(4.0, 0.5, 0.0, alpha=0.01, delta=0.05, n=4000, num_tested=3000)


def integers(start, condition, num):
    return np.arange(start, start + num)


def last_digit(samples, condition, start):
    np.testing.assert_array_equal(samples, np.arange(start, start + len(samples)))
    return samples % 10.0


@pytest.mark.parametrize("block_size", [1, 7, 64])
def test_guarded_keeps_the_first_that_pass_whatever_the_block(block_size):
    draw = guarded(integers, last_digit, THRESHOLD, block_size=block_size)
    for num in (1, 5, 23):
        found = draw(num, None)
        assert found.accepted.samples.tolist() == [i for i in range(100) if i % 10 <= 4][:num]
        assert (found.bound, found.delta) == (0.01, 0.05)
        assert len(found.scores[0]) == found.accepted.num_drawn
        np.testing.assert_array_equal(found.scores[0], np.arange(found.accepted.num_drawn) % 10)


def test_guarded_gives_each_candidate_its_condition():
    condition = np.arange(500) % 3

    def score(samples, given, start):
        np.testing.assert_array_equal(given, samples % 3)
        return np.where(given == 1, np.nan, 0.0)

    found = guarded(integers, score, THRESHOLD, budget=10, block_size=8)(50, condition)
    assert (condition[found.accepted.places] != 1).all()


def test_guarded_without_enough_within_the_budget_is_one_line():
    with pytest.raises(UsageError, match="5 of 10 candidates pass, fewer than the 10 that are asked for") as caught:
        guarded(integers, last_digit, THRESHOLD, budget=1)(10, None)
    assert "\n" not in str(caught.value)


def test_guarded_refuses_a_threshold_without_a_guarantee():
    with pytest.raises(UsageError, match="No threshold could be certified"):
        guarded(integers, last_digit, THRESHOLD._replace(value=-np.inf))


def test_several_guards_keep_what_all_accept_and_their_bounds_add_up():
    small = Guard(lambda samples, *_: samples % 100.0, THRESHOLD._replace(value=89.0, alpha=0.02, delta=0.01))
    guards = [Guard(last_digit, THRESHOLD), small]
    found = guarded_by_all(integers, guards)(90, None)
    kept = [i for i in range(1000) if i % 10 <= 4 and i % 100 < 90][:90]
    assert found.accepted.samples.tolist() == kept
    # Of those that pass a guard, up to the last that is kept, 90 pass both.
    passed = [sum(i % 10 <= 4 for i in range(kept[-1] + 1)), sum(i % 100 < 90 for i in range(kept[-1] + 1))]
    least = [beta.ppf(error, 90, n - 90 + 1) for error, n in zip([0.005, 0.001], passed, strict=True)]
    assert found.bound == pytest.approx(0.01 / least[0] + 0.02 / least[1])
    assert found.delta == pytest.approx(1.1 * 0.06)


def test_a_rule_beside_a_guard_raises_its_bound():
    found = guarded_by_all(integers, [Guard(last_digit, THRESHOLD)], accept=lambda samples: samples % 2 == 0)(60, None)
    assert (found.accepted.samples % 2 == 0).all()
    # Of the digits 0 to 4 three are even, and the unreliable ones may all be among them.
    assert 0.01 / 0.6 < found.bound < 0.01 / 0.4


@pytest.mark.slow
def test_bound_of_several_guards_covers_the_truth():
    """Two defects, each with a score that tells it in part: the share with either is above the bound with delta."""
    repeats, delta = 200, 0.1
    failures, certified = 0, 0

    def draw(seed, num):
        rng = np.random.default_rng(seed)
        bad = rng.uniform(size=(num, 2)) < 0.1
        return bad, rng.normal(size=(num, 2)) + 2.5 * bad

    bad, scores = draw(0, 200_000)
    for seed in range(1, repeats + 1):
        labels, own = draw(seed, 1200)
        found = [calibrate(own[:, i], labels[:, i], 0.05, delta, seed=seed) for i in range(2)]
        if not all(each.is_certified for each in found):
            continue
        start = 500 * seed
        guards = [Guard(lambda samples, *_, column=i: samples[:, column], each) for i, each in enumerate(found)]
        bound = guarded_by_all(lambda first, _, num, start=start: scores[start + first :][:num], guards)(400, None)
        is_kept = np.all([each.accepts(scores[:, i]) for i, each in enumerate(found)], axis=0)
        certified += 1
        failures += bad[is_kept].any(axis=1).mean() > bound.bound
        assert bound.delta == pytest.approx(2.2 * delta)
    assert certified > 150
    assert failures <= binom.ppf(0.999, certified, 2.2 * delta)
