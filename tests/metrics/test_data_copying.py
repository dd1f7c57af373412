"""C_T against scipy's Mann-Whitney test, and the handbook's experiment: copies hide behind underfitting."""

import numpy as np
import pytest
from scipy.stats import kstest, mannwhitneyu, norm

from aigc_jax.metrics.data_copying import data_copying, mann_whitney_z
from aigc_jax.metrics.memorization import memorization
from aigc_jax.types import UsageError


def judged(train, held_out, samples, **given):
    return data_copying(train, held_out, samples, memorization(train, held_out, samples, num_neighbors=1), **given)


@pytest.fixture(scope="module")
def gaussian_sets():
    return np.random.default_rng(1).normal(size=(3, 1000, 8))


@pytest.mark.parametrize("num_values", [3, 40, 10**9])
def test_scipy_agrees_with_ties_too(num_values):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, num_values, size=n).astype(float) for n in (30, 50))
    for alternative, sign in (("less", 1.0), ("greater", -1.0)):
        p = mannwhitneyu(a, b, alternative=alternative, method="asymptotic", use_continuity=False).pvalue
        assert norm.cdf(sign * mann_whitney_z(a, b)) == pytest.approx(p, rel=1e-9)
    assert mann_whitney_z(a, b) == pytest.approx(-mann_whitney_z(b, a), rel=1e-12)


def test_equal_values_say_nothing():
    assert mann_whitney_z(np.ones(20), np.ones(30)) == 0.0


def test_fresh_copied_and_underfit_samples(gaussian_sets):
    train, held_out, fresh = gaussian_sets
    near_copies = train + 1e-4 * np.random.default_rng(2).normal(size=train.shape)
    one_cell = {
        name: judged(train, held_out, samples, num_cells=1).value
        for name, samples in (("fresh", fresh), ("copies", near_copies), ("exact", train), ("underfit", 2 * fresh))
    }
    assert abs(one_cell["fresh"]) < 2.5
    # All m n pairs the same way: -sqrt(3 m n / (m + n + 1)), -38.72 for 1000 and 1000.
    assert one_cell["copies"] == pytest.approx(-38.72, abs=0.01)
    assert one_cell["exact"] < one_cell["copies"]  # the ties among copies leave less variance
    assert one_cell["underfit"] > 25
    cells = judged(train, held_out, near_copies)
    assert -15 < cells.value < -10
    assert cells.min_z <= cells.value


def test_copies_in_one_place_hide_in_the_average_but_not_in_the_least_cell(gaussian_sets):
    train, held_out, fresh = gaussian_sets
    # Two clusters: in the one all samples are copies, in the other they are far off.
    train, held_out, fresh = (x + 20 * (np.arange(1000) < 500)[:, None] for x in (train, held_out, fresh))
    noise = 1e-4 * np.random.default_rng(3).normal(size=(500, 8))
    half = np.concatenate([train[:500] + noise, 3.0 * fresh[500:]])
    result = judged(train, held_out, half, num_cells=2)
    assert abs(result.value) < 5
    assert result.min_z < -20
    assert result.p_value < 1e-50
    assert set(result.cells[:500]) == {result.worst_cell}
    assert judged(train, held_out, half, num_cells=1).value > -5


def test_z_is_standard_normal_and_the_p_value_uniform_on_fresh_samples():
    rng = np.random.default_rng(3)
    results = [judged(*rng.normal(size=(3, 200, 2)), num_cells=3) for _ in range(60)]
    # Given the training set, held-out examples and samples are alike: the test is exact whatever the cells.
    z = np.concatenate([result.z for result in results])
    assert abs(z.mean()) < 3 / np.sqrt(len(z))
    assert z.std() == pytest.approx(1.0, abs=0.2)
    assert kstest([result.p_value for result in results], "uniform").pvalue > 0.01


def test_cells_weigh_by_their_share_of_held_out_examples():
    rng = np.random.default_rng(5)
    train, held_out, samples = (
        rng.normal(size=(200, 2)) + 50 * (np.arange(200) < num)[:, None] for num in (100, 150, 40)
    )
    samples[:40] = train[:40] + 1e-4
    result = judged(train, held_out, samples, num_cells=2)
    weights = result.num_held_out / 200
    assert sorted(weights) == [0.25, 0.75]
    assert result.value == pytest.approx(weights @ result.z)
    assert result.num_samples[result.worst_cell] == 40


def test_cells_with_few_examples_are_not_judged():
    rng = np.random.default_rng(4)
    train = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 50])
    held_out = train + 0.5 * rng.normal(size=train.shape)
    samples = np.concatenate([held_out[:100] + 0.1, held_out[100:119]])  # 19 in the second cluster
    result = judged(train, held_out, samples, num_cells=2)
    assert np.isnan(result.z).sum() == 1
    assert sorted(result.num_samples.tolist()) == [19, 100]
    assert result.num_held_out.tolist() == [100, 100]
    assert result.value == pytest.approx(result.min_z)
    with pytest.raises(UsageError, match="19 and 200"):
        judged(train, held_out, samples[100:], num_cells=2)
