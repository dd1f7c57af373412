"""Authenticity, calibrated distances and C_T: fresh samples pass, copies do not, and the guarantees hold."""

import functools

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, kstest, mannwhitneyu, norm

import aigc_jax.metrics.memorization as module
from aigc_jax.metrics.memorization import (
    Memorization,
    TrainingDistances,
    data_copying,
    flag_copies,
    mann_whitney_z,
    memorization,
)
from aigc_jax.types import UsageError


def gaussian_sets(num=400, d=8, seed=0, sets=3):
    return np.random.default_rng(seed).normal(size=(sets, num, d))


@pytest.mark.parametrize("block_size", [1000, 23])
def test_memorization_agrees_with_brute_force_for_all_blocks(block_size, monkeypatch):
    monkeypatch.setattr(module, "nearest", functools.partial(module.nearest, block_size=block_size))
    train, held_out, samples = gaussian_sets(num=60, d=3)
    result = memorization(train, held_out[:40], samples, num_neighbors=10, alpha=0.3)
    own = np.sort(cdist(train, train), axis=1)[:, 1]
    for queries, found in ((samples, result.samples), (held_out[:40], result.held_out)):
        distances = cdist(queries, train)
        np.testing.assert_array_equal(found.nearest, distances.argmin(axis=1))
        np.testing.assert_allclose(found.distances, distances.min(axis=1))
        np.testing.assert_array_equal(found.is_authentic, distances.min(axis=1) > own[distances.argmin(axis=1)])
        near = np.sort(distances, axis=1)[:, :10]
        np.testing.assert_allclose(found.ratios, near[:, 0] / (0.3 * near.mean(axis=1)))
    relative = cdist(samples, train).min(axis=1) / np.median(cdist(held_out[:40], train).min(axis=1))
    np.testing.assert_allclose(result.relative_distances, relative)


@pytest.mark.parametrize(("d", "published"), [(2, 0.376), (8, 0.58)])
def test_authenticity_of_fresh_samples_is_not_one_half(d, published):
    result = memorization(*gaussian_sets(num=2000, d=d), num_neighbors=1)
    assert result.authenticity == pytest.approx(published, abs=0.03)
    assert result.held_out_authenticity == pytest.approx(published, abs=0.03)


def test_memorization_of_copies_is_authenticity_0_and_ratio_0():
    train, held_out, _ = gaussian_sets()
    result = memorization(train, held_out, train[::-1])
    assert result.authenticity == 0.0
    np.testing.assert_array_equal(result.samples.nearest, np.arange(400)[::-1])
    assert not result.samples.ratios.any()
    assert not result.relative_distances.any()


def test_flag_copies_finds_a_few_copies():
    train, held_out, fresh = gaussian_sets()
    noise = 0.02 * np.random.default_rng(1).normal(size=(20, 8))
    result = memorization(train, held_out, np.concatenate([train[:20] + noise, fresh[20:]]))
    copies = flag_copies(result)
    assert copies.is_flagged[:20].all()
    assert copies.is_flagged[20:].mean() < 0.03
    assert copies.share == copies.is_flagged.mean()
    assert copies.p_value < 0.01
    np.testing.assert_array_equal(np.sort(np.argsort(result.relative_distances)[:20]), np.arange(20))
    # Averages hide them.
    assert result.authenticity > 0.85 * result.held_out_authenticity
    assert np.median(result.relative_distances) == pytest.approx(1.0, abs=0.05)
    clean = flag_copies(memorization(train, held_out, fresh))
    assert clean.p_value > 0.01


def test_flag_copies_flags_fresh_samples_at_the_rate():
    rng, rate, flagged, small = np.random.default_rng(2), 0.05, 0, 0
    for _ in range(200):
        train, held_out, fresh = rng.exponential(size=(3, 59, 2))
        copies = flag_copies(memorization(train, held_out, fresh, num_neighbors=5), rate=rate)
        assert copies.rate == pytest.approx(3 / 60)
        flagged += int(copies.is_flagged.sum())
        small += copies.p_value <= 0.1
    # Samples of one trial share a threshold, whose share of the distribution is Beta(3, 57): sd 0.028 a trial.
    assert flagged / (200 * 59) == pytest.approx(rate, abs=4 * 0.04 / np.sqrt(200))
    # The p-value is discrete, so rarer than its level; and it does happen.
    assert binomtest(small, 200, 0.1, alternative="greater").pvalue > 0.01
    assert small > 0


@pytest.mark.parametrize(
    ("ratios", "num_flagged", "p_value"),
    [
        ([0.5], 1, 1 / 10),  # below all of nine held-out ones: the first of ten equally likely ranks
        ([0.5, 0.6], 2, 1 / 55),  # both first of eleven: one of C(11, 2) pairs
        ([0.5, 7.0], 1, 1 - 9 * 10 / 110),  # one at least: not that both come after the first of the nine
        ([7.0, 8.0], 0, 1.0),
        ([1.0], 0, 1.0),  # a tie with the threshold is not below it
    ],
)
def test_flag_copies_p_value_counts_ranks(ratios, num_flagged, p_value):
    def made(values):
        num = len(values)
        ratios = np.asarray(values, np.float64)
        return TrainingDistances(np.zeros(num, np.int64), np.ones(num), ratios, np.ones(num, bool))

    copies = flag_copies(Memorization(made(ratios), made(np.arange(9.0, 0.0, -1.0))), rate=0.1)
    assert (copies.is_flagged.sum(), copies.threshold) == (num_flagged, 1.0)
    assert copies.p_value == pytest.approx(p_value, rel=1e-9)


def test_memorization_with_duplicates_in_the_training_set():
    train, held_out, fresh = gaussian_sets(num=100)
    doubled = np.concatenate([train, train])
    result = memorization(doubled, held_out, fresh, num_neighbors=2)
    # A training example whose duplicate is its nearest: all but exact copies are authentic.
    assert result.authenticity == 1.0
    assert memorization(doubled, held_out, train, num_neighbors=2).authenticity == 0.0
    assert (memorization(doubled, held_out, train, num_neighbors=2).samples.ratios == 0).all()


def test_memorization_with_held_out_examples_in_the_training_set():
    train, _, fresh = gaussian_sets(num=100)
    result = memorization(train, train, fresh, num_neighbors=2)
    assert result.held_out_authenticity == 0.0 < result.authenticity
    assert np.isinf(result.relative_distances).all()
    assert not flag_copies(result, rate=0.1).is_flagged.any()
    same = memorization(train, train, train, num_neighbors=2)
    assert same.authenticity == same.held_out_authenticity == 0.0
    assert (same.relative_distances == 1.0).all()


@pytest.mark.parametrize("rate", [0.0, 0.009, 1.0])
def test_flag_copies_refuses_impossible_rates(rate):
    result = memorization(*gaussian_sets(num=99), num_neighbors=2)
    assert flag_copies(result, rate=0.01).rate == pytest.approx(0.01)
    with pytest.raises(UsageError, match="held-out examples, got 99"):
        flag_copies(result, rate=rate)


def test_memorization_refuses_more_neighbours_than_training_examples():
    with pytest.raises(UsageError, match="1 <= k <= 30"):
        memorization(*gaussian_sets(num=30))


def copying_of(train, held_out, samples, **given):
    return data_copying(train, held_out, samples, memorization(train, held_out, samples, num_neighbors=1), **given)


@pytest.fixture(scope="module")
def thousand_each():
    return np.random.default_rng(1).normal(size=(3, 1000, 8))


@pytest.mark.parametrize("num_values", [3, 40, 10**9])
def test_mann_whitney_z_agrees_with_scipy_with_ties(num_values):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, num_values, size=n).astype(float) for n in (30, 50))
    for alternative, sign in (("less", 1.0), ("greater", -1.0)):
        p = mannwhitneyu(a, b, alternative=alternative, method="asymptotic", use_continuity=False).pvalue
        assert norm.cdf(sign * mann_whitney_z(a, b)) == pytest.approx(p, rel=1e-9)
    assert mann_whitney_z(a, b) == pytest.approx(-mann_whitney_z(b, a), rel=1e-12)


def test_mann_whitney_z_of_equal_values_is_0():
    assert mann_whitney_z(np.ones(20), np.ones(30)) == 0.0


def test_data_copying_of_fresh_copied_and_underfit_samples(thousand_each):
    train, held_out, fresh = thousand_each
    near_copies = train + 1e-4 * np.random.default_rng(2).normal(size=train.shape)
    one_cell = {
        name: copying_of(train, held_out, samples, num_cells=1).value
        for name, samples in (("fresh", fresh), ("copies", near_copies), ("exact", train), ("underfit", 2 * fresh))
    }
    assert abs(one_cell["fresh"]) < 2.5
    # All m n pairs the same way: -sqrt(3 m n / (m + n + 1)), -38.72 for 1000 and 1000.
    assert one_cell["copies"] == pytest.approx(-38.72, abs=0.01)
    assert one_cell["exact"] < one_cell["copies"]  # the ties among copies leave less variance
    assert one_cell["underfit"] > 25
    cells = copying_of(train, held_out, near_copies)
    assert -15 < cells.value < -10
    assert cells.min_z <= cells.value


def test_data_copying_finds_copies_of_one_cell(thousand_each):
    train, held_out, fresh = thousand_each
    # Two clusters: in the one all samples are copies, in the other they are far off.
    train, held_out, fresh = (x + 20 * (np.arange(1000) < 500)[:, None] for x in (train, held_out, fresh))
    noise = 1e-4 * np.random.default_rng(3).normal(size=(500, 8))
    half = np.concatenate([train[:500] + noise, 3.0 * fresh[500:]])
    result = copying_of(train, held_out, half, num_cells=2)
    assert abs(result.value) < 5
    assert result.min_z < -20
    assert result.p_value < 1e-50
    assert result.num_samples[result.worst_cell] == 500
    assert copying_of(train, held_out, half, num_cells=1).value > -5


def test_data_copying_z_is_normal_and_p_uniform_on_fresh_samples():
    rng = np.random.default_rng(3)
    results = [copying_of(*rng.normal(size=(3, 200, 2)), num_cells=3) for _ in range(60)]
    # Given the training set, held-out examples and samples are alike: the test is exact whatever the cells.
    z = np.concatenate([result.z for result in results])
    assert abs(z.mean()) < 3 / np.sqrt(len(z))
    assert z.std() == pytest.approx(1.0, abs=0.2)
    assert kstest([result.p_value for result in results], "uniform").pvalue > 0.01


def test_data_copying_weighs_cells_by_held_out_examples():
    rng = np.random.default_rng(5)
    train, held_out, samples = (
        rng.normal(size=(200, 2)) + 50 * (np.arange(200) < num)[:, None] for num in (100, 150, 40)
    )
    samples[:40] = train[:40] + 1e-4
    result = copying_of(train, held_out, samples, num_cells=2)
    weights = result.num_held_out / 200
    assert sorted(weights) == [0.25, 0.75]
    assert result.value == pytest.approx(weights @ result.z)
    assert result.num_samples[result.worst_cell] == 40


def test_data_copying_leaves_out_cells_with_few_examples():
    rng = np.random.default_rng(4)
    train = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 50])
    held_out = train + 0.5 * rng.normal(size=train.shape)
    samples = np.concatenate([held_out[:100] + 0.1, held_out[100:119]])  # 19 in the second cluster
    result = copying_of(train, held_out, samples, num_cells=2)
    assert np.isnan(result.z).sum() == 1
    assert sorted(result.num_samples.tolist()) == [19, 100]
    assert result.num_held_out.tolist() == [100, 100]
    assert result.value == pytest.approx(result.min_z)
    with pytest.raises(UsageError, match="19 and 200"):
        copying_of(train, held_out, samples[100:], num_cells=2)


def test_data_copying_cells_are_far_clusters():
    # Samples of each of four clusters copy, underfit, ... by their own z: cells that mixed them could not tell.
    rng = np.random.default_rng(0)
    means = np.repeat(np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]]), 50, axis=0)
    for offset in (0.0, 1e6):
        train, held_out, samples = (means + rng.normal(size=(200, 2)) + offset for _ in range(3))
        samples[:50] = train[:50]
        results = [copying_of(train, held_out, samples, num_cells=4, seed=seed) for seed in range(5)]
        for result in results:
            assert result.num_samples.tolist() == result.num_held_out.tolist() == [50] * 4
            assert np.sort(result.z)[0] < -8 < -4 < np.sort(result.z)[1]
            np.testing.assert_allclose(np.sort(result.z), np.sort(results[0].z))


def test_data_copying_has_no_more_cells_than_distinct_training_examples():
    train = np.repeat(np.array([[1.0], [2.0]]), 30, axis=0)
    fresh = train + np.random.default_rng(0).normal(size=train.shape) / 100
    assert copying_of(train, fresh, fresh, num_cells=4).num_samples.tolist() == [30, 30]


@pytest.mark.parametrize("num_cells", [0, 401])
def test_data_copying_refuses_impossible_numbers_of_cells(num_cells):
    with pytest.raises(UsageError, match="400 examples"):
        copying_of(*gaussian_sets(), num_cells=num_cells)


def test_data_copying_refuses_the_memorization_of_other_sets():
    train, held_out, samples = gaussian_sets()
    with pytest.raises(ValueError, match="other sets"):
        data_copying(train, held_out, samples[:100], memorization(train, held_out, samples))
