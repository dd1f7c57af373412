"""Permutation tests: closed forms, p-values of one distribution, lost parts and collapses that are found."""

import numpy as np
import pytest
from scipy.stats import binom

from aigc_jax.metrics.neighbors import manifold
from aigc_jax.metrics.permutation_tests import coverage_test, miller_madow, variety_test
from aigc_jax.metrics.precision_recall import overlap
from aigc_jax.types import UsageError


def test_coverage_test_counts_like_overlap():
    rng = np.random.default_rng(0)
    places, first, second = (rng.normal(size=(n, 3)) for n in (80, 60, 60))
    found = coverage_test(places, first, second, num_permutations=9)
    assert found.coverage == overlap(places, first).coverage
    assert found.reference == overlap(places, second).coverage
    assert coverage_test(manifold(places, 5), first, second, num_permutations=9) == found


@pytest.mark.parametrize("num_dims", [1, 4])
def test_coverage_test_false_alarms_keep_their_level(num_dims):
    rng, p_values = np.random.default_rng(0), []
    for _ in range(120):
        sets = (rng.normal(size=(n, num_dims)) for n in (60, 50, 50))
        p_values.append(coverage_test(*sets, num_permutations=99).p_value)
    # 5 % of 120, and what 1 in 1,000 such series exceed.
    assert np.sum(np.array(p_values) <= 0.05) <= 14


def test_coverage_test_finds_a_lost_part():
    rng = np.random.default_rng(0)
    places, second = rng.normal(size=(200, 2)), rng.normal(size=(150, 2))
    wide = rng.normal(size=(800, 2))
    slightly, clearly = (wide[wide[:, 0] < reach][:150] for reach in (0.8, 0.3))
    assert coverage_test(places, slightly, second, num_permutations=999).p_value < 0.05
    assert coverage_test(places, clearly, second, num_permutations=999).p_value == pytest.approx(0.001)


def test_coverage_test_refuses_sets_of_two_sizes():
    with pytest.raises(UsageError, match="one size"):
        coverage_test(np.zeros((9, 1)), np.zeros((3, 1)), np.zeros((4, 1)))


def p_values(num_draws, sampled, real, num_conditions=4, size=12):
    """Of so many draws: values below ``sampled`` and below ``real``, all as frequent, in each condition."""
    rng, condition = np.random.default_rng(0), np.arange(num_conditions * size) % num_conditions
    draws = ([rng.integers(0, num, len(condition)) for num in (sampled, real)] for _ in range(num_draws))
    return np.array([variety_test(a, condition, b, condition, num_permutations=199).p_value for a, b in draws])


@pytest.mark.parametrize("num_values", [3, 40])
def test_variety_test_p_values_of_one_distribution_are_uniform_or_larger(num_values):
    found = p_values(300, num_values, num_values)
    for level in (0.05, 0.2, 0.5):
        assert np.sum(found <= level) <= binom.ppf(0.99, 300, level)
    # Few values, whose differences can be equal, make it conservative, but not mute.
    assert np.sum(found <= 0.2) >= binom.ppf(0.01, 300, 0.1)


@pytest.mark.parametrize(("sampled", "real"), [(2, 4), (10, 20)])
def test_variety_test_finds_a_collapse_to_half_of_the_values(sampled, real):
    # With 480 examples nearly always; more variety than there is in the data is no collapse.
    assert np.mean(p_values(30, sampled, real, size=60) <= 0.05) >= 0.9
    assert np.min(p_values(30, real, sampled, size=60)) > 0.5


def test_variety_test_weighs_conditions_equally():
    condition = np.repeat([0, 1], [1000, 10])
    values = np.where(condition == 1, 3, np.arange(1010) % 2)
    found = variety_test(values, condition, np.where(condition == 1, 3, 0), condition)
    assert found.entropy == pytest.approx((np.log(2) + 1 / 2000) / 2)
    assert (found.reference, found.p_value) == (0, 1)
    # The same in all conditions together, but one value in each.
    mixed = np.arange(40) % 4
    found = variety_test(mixed, mixed, np.arange(40) // 4 % 4, mixed)
    assert (found.entropy, found.p_value) == (0, 0.001)


def test_variety_test_of_sets_of_two_sizes():
    condition = np.zeros(90, int)
    found = variety_test(np.arange(30) % 6, condition[:30], np.arange(90) % 6, condition)
    assert found.p_value > 0.1


def test_variety_test_p_value_is_the_share_of_all_permutations():
    # Of a a b b, the pair a a or b b is drawn in 2 of 6 ways.
    pair = np.zeros(2, int)
    found = variety_test(np.array([0, 0]), pair, np.array([1, 1]), pair, num_permutations=20_000)
    assert found.p_value == pytest.approx(1.0)  # The other pair is as little varied: no difference.
    found = variety_test(np.array([0, 0]), pair, np.array([0, 1]), pair, num_permutations=20_000)
    assert found.p_value == pytest.approx(1 / 2, abs=0.02)  # Of a a a b, 3 pairs of 6 are a a.


def test_miller_madow_by_hand():
    assert miller_madow(np.array([0, 0, 0, 1])) == pytest.approx(0.5623351 + 1 / 8)


def test_miller_madow_corrects_the_plug_in_bias():
    # Ten samples of ten equally likely values: plug-in 1.773 for 2.303; the plain figure would claim 0.23 consistency.
    rng, plug_in = np.random.default_rng(1), 1.773
    mean = np.mean([miller_madow(values) for values in rng.integers(0, 10, (2000, 10))])
    assert abs(mean - np.log(10)) < 0.5 * (np.log(10) - plug_in)


def test_variety_test_refuses_conditions_without_two_examples():
    one, two = np.zeros(1, int), np.zeros(2, int)
    for first, second in (((two, two), (one, one)), ((two, two), (two, two + 1)), ((one[:0],) * 2, (one[:0],) * 2)):
        with pytest.raises(UsageError, match="two examples"):
            variety_test(*first, *second)
