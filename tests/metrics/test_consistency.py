"""Consistency: closed forms, shuffles drawn one by one, numpy's own steps, linear maps, coverage in simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics import consistency
from aigc_jax.metrics.consistency import (
    attribute_agreement,
    drift,
    max_ulp,
    miller_madow,
    radius_agreement,
    reproducibility,
    seed_consistency,
    sensitivity,
    unit_change,
)
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.types import UsageError


def test_seed_consistency_of_a_fixed_attribute_is_1_with_an_interval():
    condition = np.arange(60) % 3
    result = seed_consistency(condition, condition, 10)
    assert (result.value, result.high) == (1, 1)
    assert 0.6 < result.low < 0.9
    assert result.per_condition.tolist() == [1, 1, 1]
    assert result.n == 60
    longer = np.arange(6000) % 3
    assert 0.99 < seed_consistency(longer, longer, 10).low < 1


def test_seed_consistency_of_a_free_attribute_follows_from_its_entropy():
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])
    rng = np.random.default_rng(0)
    attribute = rng.choice(4, 40_000, p=probabilities)
    result = seed_consistency(attribute, np.arange(40_000) % 4, 4)
    entropy = -np.sum(probabilities * np.log(probabilities))
    np.testing.assert_allclose(result.per_condition, 1 - entropy / np.log(4), atol=0.01)
    assert result.value == pytest.approx(1 - entropy / np.log(4), abs=0.005)


def drawn(agreement, sizes, num_draws, num_values=10):
    """Results where each condition shows its own value so often, else each other one as often; and the truth."""
    rng, condition = np.random.default_rng(2), np.repeat(np.arange(len(sizes)), sizes)
    shape = (num_draws, len(condition))
    off = np.where(rng.random(shape) < agreement, 0, rng.integers(1, num_values, shape))
    probabilities = np.r_[agreement, np.full(num_values - 1, (1 - agreement) / (num_values - 1))]
    results = [seed_consistency(seen, condition, num_values) for seen in (condition + off) % num_values]
    return results, 1 + np.sum(probabilities * np.log(probabilities)) / np.log(num_values)


@pytest.mark.one_case
@pytest.mark.parametrize("agreement", [0.95, 0.98, 0.99])
@pytest.mark.parametrize("sizes", [[20] * 10, [100] * 10, [500] * 10, [1000, 10]], ids=["20", "100", "500", "unequal"])
def test_seed_consistency_interval_covers_the_truth(agreement, sizes):
    results, truth = drawn(agreement, sizes, 40)
    # Of 40 intervals that each miss 1 time in 20, more than 5 miss in 1 of 70 cases.
    assert np.mean([result.low <= truth <= result.high for result in results]) >= 0.875
    assert all(0 <= result.low <= result.value <= result.high <= 1 for result in results)


def test_seed_consistency_interval_is_narrow_for_many_samples():
    results, truth = drawn(0.98, [500] * 10, 5)
    assert np.mean([result.low for result in results]) > truth - 0.03
    assert np.mean([result.high for result in results]) < 0.995


@pytest.mark.slow
def test_seed_consistency_lower_end_is_not_biased_by_the_choice_of_a_value():
    # Three values as frequent: the most frequent of two samples would seem to be two thirds of them.
    rng, condition = np.random.default_rng(6), np.arange(100) // 2
    results = [seed_consistency(rng.integers(0, 3, 100), condition, 3) for _ in range(50)]
    assert np.mean([result.low < 0.01 for result in results]) >= 0.94


def test_seed_consistency_of_single_samples_has_lower_end_0():
    assert seed_consistency(np.array([0, 1]), np.array([0, 1]), 3).low == pytest.approx(0)


def test_seed_consistency_counts_unreadable_as_a_value():
    mixed = seed_consistency(np.array([1, 1, -1, -1]), None, 2)
    assert mixed.value == 0
    assert seed_consistency(jnp.array([2, 2]), jnp.array([5, 9]), 3).per_condition.tolist() == [1, 1]


def test_seed_consistency_refuses_one_value_and_no_samples():
    with pytest.raises(UsageError, match="2 values"):
        seed_consistency(np.array([0, 0]), None, 1)
    with pytest.raises(UsageError, match="got 0"):
        seed_consistency(np.zeros(0, int), None, 3)


def shuffled_share(a, b, condition, num_shuffles=4000):
    """The share of equal pairs after shuffles within the conditions, pairs of the same noise left out."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(num_shuffles):
        order = np.arange(len(a))
        for c in np.unique(condition):
            (of_condition,) = np.nonzero(condition == c)
            order[of_condition] = rng.permutation(of_condition)
        is_moved = order != np.arange(len(a))
        shares.append((np.sum((a == b[order])[is_moved]), is_moved.sum()))
    return np.sum(shares, axis=0)[0] / np.sum(shares, axis=0)[1]


def test_paired_agreement_chance_is_the_mean_of_shuffles_within_a_condition():
    rng = np.random.default_rng(3)
    condition = np.repeat([0, 1], 20)
    a = np.where(rng.random(40) < 0.6, condition, rng.integers(0, 3, 40))
    b = np.where(rng.random(40) < 0.5, a, rng.integers(0, 3, 40))
    result = attribute_agreement(a, b, condition)
    assert result.value == np.mean(a == b)
    assert (result.low, result.high) == clopper_pearson(int(np.sum(a == b)), 40)
    assert result.chance == pytest.approx(shuffled_share(a, b, condition), abs=0.01)
    # Across conditions chance would be another: they differ in what they show.
    assert attribute_agreement(a, b).chance < result.chance - 0.05
    assert result.excess == pytest.approx(result.value - result.chance)


@pytest.mark.parametrize("copied", [0.0, 0.4])
def test_paired_agreement_excess_interval_covers_the_truth_95_times_in_100(copied):
    probabilities, rng, is_covered = np.array([0.7, 0.2, 0.1]), np.random.default_rng(4), []
    truth = copied * (1 - np.sum(probabilities**2))
    for _ in range(400):
        a, b = rng.choice(3, 100, p=probabilities), rng.choice(3, 100, p=probabilities)
        b = np.where(rng.random(100) < copied, a, b)
        result = attribute_agreement(a, b, np.arange(100) % 2)
        is_covered.append(result.excess_low <= truth <= result.excess_high)
    assert 0.925 <= np.mean(is_covered) <= 0.975


def test_paired_agreement_of_equal_pairs_has_an_exact_interval():
    values = np.arange(20) % 4
    result = attribute_agreement(values, values)
    assert result.excess_low == pytest.approx(clopper_pearson(20, 20)[0] - result.chance)


def test_paired_agreement_by_the_condition_alone_has_no_excess():
    condition = np.arange(200) % 10
    result = attribute_agreement(condition, condition, condition)
    assert (result.value, result.chance, result.excess) == (1, 1, 0)


def test_reproducibility_by_hand():
    a = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    b = np.array([[5.0, 1.0], [1.0, -1.0], [0.0, 1.0]])
    # Cosines: own 0.98, -0.71, 0.71; others 0.71, 0.0 | 0.20, 1.0 | 0.83, 0.0.
    result = reproducibility(a, jnp.asarray(b))
    assert result.value == pytest.approx(2 / 3)
    assert result.chance == pytest.approx(3 / 6)
    assert result.excess_low <= result.excess <= result.excess_high
    assert reproducibility(a, b, threshold=0.9).value == pytest.approx(1 / 3)


def test_radius_agreement_by_hand():
    a, b = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]), np.array([[0.0, 0.5], [3.0, 4.0], [0.0, 4.0]])
    # Distances: own 0.5, 4, 0; others 5, 4 | 3.04, 5 | 3.5, 3.
    result = radius_agreement(a, b, np.array([4.5, 3.5, 3.2]))
    assert (result.value, result.chance) == (pytest.approx(2 / 3), pytest.approx(3 / 6))


def test_reproducibility_of_zero_features_is_0():
    result = reproducibility(np.zeros((3, 2)), np.ones((3, 2)))
    assert (result.value, result.chance) == (0, 0)


def test_reproducibility_does_not_depend_on_blocks(monkeypatch):
    rng = np.random.default_rng(5)
    a, condition = rng.normal(size=(30, 4)), np.arange(30) % 2
    b = a + rng.normal(size=a.shape)
    whole = reproducibility(a, b, condition)
    monkeypatch.setattr(consistency, "MAX_BLOCK", 31)
    assert reproducibility(a, b, condition) == pytest.approx(whole)


def test_paired_agreement_of_single_pairs_has_no_chance():
    result = attribute_agreement(np.array([0, 1]), np.array([0, 2]), np.array([0, 1]))
    assert result.value == 0.5
    assert np.isnan([result.chance, result.excess, result.excess_low, result.excess_high]).all()
    mixed = attribute_agreement(np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([0, 1, 1]))
    assert mixed.value == pytest.approx(2 / 3)
    assert (mixed.chance, mixed.excess) == (0.5, 0.0)


def test_paired_agreement_refuses_no_pairs():
    with pytest.raises(UsageError, match="at least one"):
        reproducibility(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_max_ulp_counts_numpys_steps(dtype):
    a = np.array([[0.1, -2.0], [1.0, 0.0], [3.0, 4.0]], dtype)
    b = a.copy()
    for _ in range(5):
        b[1, 0] = np.nextafter(b[1, 0], dtype(2))
    b[0, 1] = np.nextafter(b[0, 1], dtype(0))
    assert max_ulp(a, b) == 5
    assert max_ulp(a, a) == 0


def test_max_ulp_across_zero():
    smallest = np.float32(np.nextafter(np.float32(0), np.float32(1)))
    assert max_ulp(np.array([0.0], np.float32), np.array([-0.0], np.float32)) == 0
    assert max_ulp(np.array([smallest]), np.array([-smallest])) == 2
    huge = np.array([np.finfo(np.float64).max])
    assert max_ulp(huge, -huge) == 2 * int(huge.view(np.int64)[0])


def test_max_ulp_of_other_types():
    half = np.asarray(jnp.array([1.0, 2.0], jnp.bfloat16))
    assert max_ulp(half, half + half) == 128
    assert max_ulp(np.array([1, 2]), np.array([1, 3])) is None
    with pytest.raises(ValueError, match="float32"):
        max_ulp(np.zeros(2, np.float32), np.zeros(2))
    with pytest.raises(UsageError, match="none"):
        max_ulp(np.zeros((0, 3)), np.zeros((0, 3)))


def test_drift_by_hand():
    before, after = np.array([600, 300, 100, 0]), np.array([300, 300, 400, 0])
    expected = (0.3 - 0.6) * np.log(0.3 / 0.6) + (0.4 - 0.1) * np.log(0.4 / 0.1)
    assert drift(before, after).psi == pytest.approx(expected, rel=0.01)
    assert drift(after, before).psi == pytest.approx(drift(before, after).psi)
    assert drift(before, before).psi == 0
    assert np.isfinite(drift(before, np.array([600, 300, 0, 100])).psi)


@pytest.mark.parametrize("sizes", [(200, 200), (1000, 300)])
def test_drift_limit_is_exceeded_5_times_in_100_without_a_change(sizes):
    rng, shares = np.random.default_rng(0), np.array([0.4, 0.3, 0.2, 0.1])
    results = [drift(*(rng.multinomial(n, shares) for n in sizes)) for _ in range(1000)]
    assert 0.03 <= np.mean([result.psi > result.limit for result in results]) <= 0.07
    moved = drift(rng.multinomial(200, shares), rng.multinomial(200, shares[::-1]))
    assert moved.psi > moved.limit


def test_drift_refuses_no_samples():
    with pytest.raises(UsageError, match="both sides"):
        drift(np.array([0, 0]), np.array([1, 2]))


def test_sensitivity_of_a_linear_map_is_its_gain():
    rng = np.random.default_rng(1)
    matrix, delta = np.diag([1.0, 1.0, 5.0]), rng.normal(size=(500, 3))
    z = rng.normal(size=(500, 3))
    result = sensitivity(z @ matrix, (z + delta) @ matrix, delta)
    ratio = np.linalg.norm(delta @ matrix, axis=1) / np.linalg.norm(delta, axis=1)
    assert result.median == pytest.approx(np.median(ratio))
    assert result.quantile_95 == pytest.approx(np.quantile(ratio, 0.95))
    assert result.largest == pytest.approx(ratio.max())
    assert result.largest <= 5
    assert result.low < result.median < result.high
    assert result.n == 500


def test_sensitivity_relative_to_the_output():
    a = np.random.default_rng(2).normal(size=(10, 4, 4, 1)).astype(np.float32)
    assert sensitivity(a, 1.01 * a, a, num_resamples=20).median == pytest.approx(0.01, rel=1e-4)


def test_sensitivity_refuses_references_of_size_0():
    a = np.ones((3, 2))
    with pytest.raises(UsageError, match="2 of 3"):
        sensitivity(a, a, np.array([0.0, 1.0, 0.0]))


def test_unit_change_of_a_linear_map_is_its_matrix_times_the_unit_vector():
    rng = np.random.default_rng(3)
    matrix, directions = rng.normal(size=(5, 12)), rng.normal(size=(40, 5))
    z = jnp.asarray(rng.normal(size=(40, 5)), jnp.float32)
    changes = unit_change(
        lambda z: (z @ jnp.asarray(matrix, jnp.float32)).reshape(-1, 2, 2, 3), z, jnp.asarray(directions, jnp.float32)
    )
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    expected = np.linalg.norm(units @ matrix, axis=1)
    found = sensitivity(np.zeros((40, 2, 2, 3)), np.asarray(changes), np.ones((40, 1)), num_resamples=20)
    assert found.median == pytest.approx(np.median(expected), rel=1e-5)
    assert found.largest == pytest.approx(expected.max(), rel=1e-5)
    assert found.largest <= np.linalg.norm(matrix, 2)


def test_unit_change_is_the_limit_of_differences():
    first, last, z, u = np.random.default_rng(0).normal(size=(4, 6, 6)).astype(np.float32)
    changes = jax.jit(lambda *z: unit_change(lambda z: jnp.tanh(jnp.sin(z @ first) @ last), *z))(z, u)
    assert not np.allclose(np.linalg.norm(u, axis=1), 1.0)
    step = 1e-6 * u.astype(np.float64) / np.linalg.norm(u, axis=1, keepdims=True)
    moved = [np.tanh(np.sin((z + sign * step) @ first) @ last) for sign in (1, -1)]
    np.testing.assert_allclose(changes, (moved[0] - moved[1]) / 2e-6, atol=1e-4)


def test_miller_madow_by_hand():
    assert miller_madow(np.array([0, 0, 0, 1])) == pytest.approx(0.5623351 + 1 / 8)


def test_miller_madow_corrects_the_plug_in_bias():
    # Ten samples of ten equally likely values: plug-in 1.773 for 2.303; the plain figure would claim 0.23 consistency.
    rng, plug_in = np.random.default_rng(1), 1.773
    mean = np.mean([miller_madow(values) for values in rng.integers(0, 10, (2000, 10))])
    assert abs(mean - np.log(10)) < 0.5 * (np.log(10) - plug_in)
