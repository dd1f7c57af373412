"""Authenticity and calibrated distances: fresh samples pass, copies do not, and the guarantee holds."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from aigc_jax.metrics.memorization import Closeness, Memorization, flag_copies, memorization
from aigc_jax.types import UsageError


def gaussian_sets(num=400, d=8, seed=0, sets=3):
    return np.random.default_rng(seed).normal(size=(sets, num, d))


@pytest.mark.parametrize("block_size", [1000, 23])
def test_brute_force_agrees(block_size):
    train, held_out, samples = gaussian_sets(num=60, d=3)
    result = memorization(train, held_out[:40], samples, num_neighbors=10, alpha=0.3, block_size=block_size)
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
    assert result.authenticity_ratio == pytest.approx(1.0, abs=0.1)


def test_copies_are_not_authentic_and_have_ratio_zero():
    train, held_out, _ = gaussian_sets()
    result = memorization(train, held_out, train[::-1])
    assert result.authenticity == result.authenticity_ratio == 0.0
    np.testing.assert_array_equal(result.samples.nearest, np.arange(400)[::-1])
    assert not result.samples.ratios.any()
    assert not result.relative_distances.any()


def test_a_few_copies_show_in_the_flags_and_in_the_left_tail():
    train, held_out, fresh = gaussian_sets()
    noise = 0.02 * np.random.default_rng(1).normal(size=(20, 8))
    result = memorization(train, held_out, np.concatenate([train[:20] + noise, fresh[20:]]))
    copies = flag_copies(result)
    assert copies.is_flagged[:20].all()
    assert copies.is_flagged[20:].mean() < 0.03
    assert copies.low < 0.05 < copies.high
    assert copies.p_value < 0.01
    np.testing.assert_array_equal(np.sort(np.argsort(result.relative_distances)[:20]), np.arange(20))
    # Averages hide them.
    assert result.authenticity_ratio > 0.85
    assert np.median(result.relative_distances) == pytest.approx(1.0, abs=0.05)
    clean = flag_copies(memorization(train, held_out, fresh))
    assert clean.p_value > 0.01


def test_fresh_samples_are_flagged_at_the_promised_rate():
    rng, rate, flagged, small = np.random.default_rng(2), 0.05, 0, 0
    for _ in range(200):
        train, held_out, fresh = rng.exponential(size=(3, 59, 2))
        copies = flag_copies(memorization(train, held_out, fresh, num_neighbors=5), rate=rate)
        assert copies.rate == pytest.approx(3 / 60)
        flagged += int(copies.is_flagged.sum())
        small += copies.p_value <= 0.1
    # Samples of one trial share a threshold, whose share of the law is Beta(3, 57): sd 0.028 a trial.
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
def test_the_p_value_counts_ranks(ratios, num_flagged, p_value):
    def made(values):
        num = len(values)
        return Closeness(np.zeros(num, np.int64), np.ones(num), np.asarray(values, np.float64), np.ones(num, bool))

    copies = flag_copies(Memorization(made(ratios), made(np.arange(9.0, 0.0, -1.0))), rate=0.1)
    assert (copies.is_flagged.sum(), copies.threshold) == (num_flagged, 1.0)
    assert copies.p_value == pytest.approx(p_value, rel=1e-9)


def test_duplicates_in_the_training_set():
    train, held_out, fresh = gaussian_sets(num=100)
    doubled = np.concatenate([train, train])
    result = memorization(doubled, held_out, fresh, num_neighbors=2)
    # A training example whose duplicate is its nearest: all but exact copies are authentic.
    assert result.authenticity == 1.0
    assert memorization(doubled, held_out, train, num_neighbors=2).authenticity == 0.0
    assert (memorization(doubled, held_out, train, num_neighbors=2).samples.ratios == 0).all()


def test_held_out_examples_that_were_trained_on():
    train, _, fresh = gaussian_sets(num=100)
    result = memorization(train, train, fresh, num_neighbors=2)
    assert result.authenticity_ratio == np.inf
    assert np.isinf(result.relative_distances).all()
    assert not flag_copies(result, rate=0.1).is_flagged.any()
    same = memorization(train, train, train, num_neighbors=2)
    assert same.authenticity_ratio == 1.0
    assert (same.relative_distances == 1.0).all()


@pytest.mark.parametrize("rate", [0.0, 0.009, 1.0])
def test_rates_that_no_threshold_keeps_are_refused(rate):
    result = memorization(*gaussian_sets(num=99), num_neighbors=2)
    assert flag_copies(result, rate=0.01).rate == pytest.approx(0.01)
    with pytest.raises(UsageError, match="held-out examples, got 99"):
        flag_copies(result, rate=rate)


def test_more_neighbours_than_training_examples_are_refused():
    with pytest.raises(UsageError, match="1 <= k <= 30"):
        memorization(*gaussian_sets(num=30))
