"""Hallucination and its bound: generators of known calibration over a table of statements, and any generator at all."""

import numpy as np
import pytest
from scipy import stats

from aigc_jax.metrics.facts import (
    TRAINING_COUNTS,
    bins_of,
    by_training_count,
    hallucination_bound,
    miscalibration,
    monofact_rate,
)
from aigc_jax.types import UsageError

NUM_ANSWERS = 50


def table(rng, num_train, num_questions=4000):
    """A world of one true answer to each question, four questions to a person of Zipf's popularity; a training set."""
    weights = np.repeat(1 / np.arange(1, num_questions // 4 + 1), 4)
    p = np.zeros((num_questions, NUM_ANSWERS))
    p[np.arange(num_questions), rng.integers(NUM_ANSWERS, size=num_questions)] = weights / weights.sum()
    p = p.reshape(-1)
    return p, rng.multinomial(num_train, p)


def calibrated(p, counts):
    """Seen statements as often as in the world, and the missing mass spread over all others alike."""
    is_new = counts == 0
    return np.where(is_new, p[is_new].sum() / is_new.sum(), p)


@pytest.mark.parametrize("num_train", [1000, 3000, 10_000, 30_000])
def test_calibrated_generator_hallucinates_at_the_monofact_rate(num_train, rng):
    p, counts = table(rng, num_train)
    found = hallucination_bound(calibrated(p, counts), p, counts)
    rate = np.sum(p * (1 - p) ** (num_train - 1))
    # Four standard errors of so many draws, and more where a statement of the pair is drawn twice.
    assert found.monofact_rate == pytest.approx(rate, abs=4 * np.sqrt(2 * rate / num_train))
    assert found.miscalibration == pytest.approx(0.0, abs=1e-9)
    # One in fifty of the new statements is true.
    assert found.hallucination_rate == pytest.approx(found.missing_mass * (1 - 1 / NUM_ANSWERS), rel=0.05)
    assert found.hallucination_rate == pytest.approx(found.bound, abs=1e-9)
    assert found.floor == pytest.approx(found.missing_mass, abs=4 * np.sqrt(2 * rate / num_train))


def test_half_calibrated_generator_hallucinates_half_as_often(rng):
    p, counts = table(rng, 3000)
    seen = np.where(counts > 0, p, 0.0)
    half = (calibrated(p, counts) + seen / seen.sum()) / 2
    found, whole = (hallucination_bound(g, p, counts) for g in (half, calibrated(p, counts)))
    assert found.hallucination_rate == pytest.approx(whole.hallucination_rate / 2)
    assert found.miscalibration == pytest.approx(whole.missing_mass / 2)
    assert found.bound <= found.hallucination_rate + 1e-9


def test_memoriser_never_hallucinates_and_is_miscalibrated_by_the_missing_mass(rng):
    p, counts = table(rng, 3000)
    found = hallucination_bound(counts / counts.sum(), p, counts)
    assert found.hallucination_rate == pytest.approx(0.0, abs=1e-9)
    assert found.miscalibration >= found.missing_mass - 1e-9
    assert found.bound <= 1e-9


@pytest.mark.parametrize("num_bins", [None, 1, 7, 20, 100])
def test_bound_holds_for_any_generator_and_any_world(num_bins, rng):
    for trial in range(40):
        size = 300
        p = np.where(rng.uniform(size=size) < 0.2, rng.pareto(0.5, size=size), 0.0)
        p[0] = 1e-3
        p /= p.sum()
        counts = rng.multinomial(60, p)
        kinds = [rng.dirichlet(np.full(size, 0.05)), calibrated(p, counts), counts / 60, p, np.full(size, 1 / size)]
        g = kinds[trial % 5] * rng.uniform(0.2, 1.0) if trial % 2 else rng.permutation(kinds[trial % 5])
        found = hallucination_bound(g, p, counts, num_bins=num_bins)
        assert found.bound <= found.hallucination_rate + 1e-12
        assert found.hallucination_rate == pytest.approx(1 - g[p > 0].sum())
        assert found.missing_mass == pytest.approx(p[counts == 0].sum())


@pytest.mark.slow
def test_monofact_rate_estimates_the_missing_mass_without_bias(rng):
    p, _ = table(rng, 1, num_questions=400)
    drawn = rng.multinomial(500, p, size=400)
    rates, missing = [monofact_rate(counts) for counts in drawn], (p * (drawn == 0)).sum(axis=1)
    # Of n draws it is the expected missing mass of n - 1.
    assert stats.ttest_1samp(rates, np.sum(p * (1 - p) ** 499)).pvalue > 1e-4
    assert np.mean(missing) == pytest.approx(np.sum(p * (1 - p) ** 500), abs=4 * np.std(missing) / 20)


def test_miscalibration_is_that_of_brute_force_over_level_sets_and_grows_to_total_variation(rng):
    g, p = rng.dirichlet(np.ones(12)).round(2), rng.dirichlet(np.ones(12))
    levels = {value: [i for i in range(12) if g[i] == value] for value in g}
    expected = sum(abs(p[own].sum() - g[own].sum()) for own in levels.values()) + abs(1 - g.sum())
    assert miscalibration(g, p) == pytest.approx(expected / 2)
    g = rng.dirichlet(np.full(500, 0.3))
    q = rng.dirichlet(np.full(500, 0.3))
    few, many, all_ = (miscalibration(g, q, num_bins=num) for num in (20, 100, None))
    assert few <= many <= all_ == pytest.approx(np.abs(g - q).sum() / 2)
    assert miscalibration(g, g, num_bins=20) == pytest.approx(0.0)


def test_bins_are_of_about_equal_mass_and_keep_equal_probabilities_together(rng):
    g = rng.dirichlet(np.ones(2000))
    bins = bins_of(g, 20)
    assert (np.diff(bins[np.argsort(g)]) >= 0).all()
    np.testing.assert_allclose(np.bincount(bins, weights=g), 1 / 20, atol=2 * g.max())
    assert len(set(bins_of(np.repeat([0.002, 0.001], 300), 20)[:300])) == 1
    assert bins_of(np.zeros(3), 20).tolist() == [0, 0, 0]


def test_by_training_count_adds_up(rng):
    p, counts = table(rng, 3000)
    p, counts = p.reshape(4000, -1), counts.reshape(4000, -1)
    g = calibrated(p, counts)
    groups = by_training_count(g, p > 0, counts)
    assert [group.title for group in groups] == list(TRAINING_COUNTS)
    assert sum(group.num_questions for group in groups) == 4000
    assert sum(group.share for group in groups) == pytest.approx(1.0)
    assert sum(group.share * group.hallucination_rate for group in groups) == pytest.approx(1 - g[p > 0].sum())
    never, *others = groups
    assert never.num_questions == (counts.sum(axis=1) == 0).sum()
    assert never.hallucination_rate == pytest.approx(0.98)
    assert all(group.accuracy == 1.0 for group in others)


def test_facts_of_no_or_false_training_are_refused():
    g = np.full(4, 0.25)
    with pytest.raises(UsageError, match="got none"):
        hallucination_bound(g, np.array([0.5, 0.5, 0, 0]), np.zeros(4, int))
    with pytest.raises(UsageError, match="must be true"):
        hallucination_bound(g, np.array([0.5, 0.5, 0, 0]), np.array([1, 0, 2, 0]))
