"""The Fréchet distance against closed forms, scipy's matrix root, torch-fidelity and its own bias; and its limit."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from aigc_jax.metrics.frechet import (
    FrechetState,
    distance_of_moments,
    frechet_distance,
    frechet_infinity,
    frechet_statistics,
)
from aigc_jax.types import UsageError
from tests.metrics.feature_examples import example_features


def state_of(features):
    metric = frechet_statistics(features.shape[1])
    return metric.update(metric.init(), features)


def state_with(mean, covariance, n=1000):
    return FrechetState(n, np.asarray(mean, np.float64), np.asarray(covariance, np.float64) * (n - 1))


def random_covariance(rng, d):
    root = rng.normal(size=(d, 2 * d))
    return root @ root.T / d


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    a, b = state_with([0, 0, 1], np.diag([1, 4, 9])), state_with([1, 0, 3], np.diag([4, 4, 1]))
    assert distance_of_moments(a, b) == pytest.approx((1 + 4) + (1 - 2) ** 2 + 0 + (3 - 1) ** 2, rel=1e-12)


def test_frechet_distance_agrees_with_scipys_matrix_root():
    rng = np.random.default_rng(0)
    s1, s2, delta = random_covariance(rng, 12), random_covariance(rng, 12), rng.normal(size=12)
    oracle = delta @ delta + np.trace(s1 + s2 - 2 * scipy.linalg.sqrtm(s1 @ s2).real)
    a, b = state_with(np.zeros(12), s1), state_with(delta, s2)
    assert distance_of_moments(a, b) == pytest.approx(oracle, rel=1e-10)
    assert distance_of_moments(b, a) == pytest.approx(oracle, rel=1e-10)


def test_frechet_distance_to_itself_is_0_even_when_singular():
    features = np.random.default_rng(1).normal(size=(50, 6))
    features[:, 5] = features[:, 4]
    assert 0 <= distance_of_moments(state_of(features), state_of(features)) < 1e-6


def test_frechet_distance_has_the_known_bias():
    rng, d, n, repeats = np.random.default_rng(2), 32, 1000, 20
    distances = [
        distance_of_moments(state_of(rng.normal(size=(n, d))), state_of(rng.normal(size=(n, d))))
        for _ in range(repeats)
    ]
    assert np.mean(distances) == pytest.approx((2 * d + d * (d + 1) / 2) / n, rel=0.04)


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (13, 0, 20, 7), (1,) * 40])
def test_frechet_statistics_do_not_depend_on_batches_and_merges(sizes):
    # Far from the origin: a difference of raw moments would lose every digit of the covariance.
    features = np.random.default_rng(3).normal(size=(40, 4)) + 1e7
    metric = frechet_statistics(4)
    parts = np.split(features, np.cumsum(sizes)[:-1])
    updated, merged = metric.init(), metric.init()
    for part in parts:
        updated = metric.update(updated, part)
        merged = metric.merge(merged, metric.update(metric.init(), part))
    for state in (updated, merged):
        results = metric.compute(state)
        assert results["num_samples"] == 40
        np.testing.assert_allclose(results["mean"], features.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(results["covariance"], np.cov(features.T), rtol=1e-6, atol=1e-7)


def test_frechet_statistics_merge_with_no_examples_is_the_identity():
    metric = frechet_statistics(3)
    a = metric.update(metric.init(), np.random.default_rng(4).normal(size=(5, 3)))
    for merged in (metric.merge(metric.init(), a), metric.merge(a, metric.init())):
        for left, right in zip(merged, a, strict=True):
            np.testing.assert_array_equal(left, right)


def test_frechet_statistics_of_float32_are_float64():
    features = (np.random.default_rng(5).normal(size=(30, 3)) + 1000).astype(np.float32)
    state = state_of(features)
    assert state.scatter.dtype == np.float64
    np.testing.assert_allclose(state.covariance, np.cov(features.astype(np.float64).T), rtol=1e-9)


def test_frechet_distance_refuses_too_few_samples():
    rng = np.random.default_rng(6)
    enough, few = state_of(rng.normal(size=(5, 4))), state_of(rng.normal(size=(4, 4)))
    assert distance_of_moments(enough, enough) >= 0
    with pytest.raises(UsageError, match="at least 5 samples"):
        distance_of_moments(enough, few)


def test_frechet_statistics_refuse_another_number_of_features():
    metric = frechet_statistics(3)
    with pytest.raises(ValueError, match="3"):
        metric.update(metric.init(), np.zeros((2, 4)))


GOLDEN = json.loads((Path(__file__).parent / "golden_features.json").read_text())


def test_fd_agrees_with_torch_fidelity():
    assert frechet_distance(*example_features()) == pytest.approx(GOLDEN["fid"], rel=1e-10)


@pytest.mark.parametrize(("num_real", "num_fake", "shift"), [(1500, 1500, 0.0), (3000, 1500, 0.0), (1500, 1500, 0.1)])
def test_frechet_infinity_has_no_bias(num_real, num_fake, shift):
    rng, d, repeats = np.random.default_rng(0), 16, 30
    pairs = [(rng.normal(size=(num_real, d)), rng.normal(size=(num_fake, d)) + shift) for _ in range(repeats)]
    values = np.array([frechet_infinity(*pair) for pair in pairs])
    error = values.std(ddof=1) / np.sqrt(repeats)
    bias = (2 * d + d * (d + 1) / 2) / 2 * (1 / num_fake + 1 / num_real)
    assert error < 0.15 * bias
    assert values.mean() == pytest.approx(d * shift**2, abs=4 * error)
    # The plain distance has it.
    assert np.mean([frechet_distance(*pair) for pair in pairs]) == pytest.approx(d * shift**2 + bias, rel=0.2)


def test_frechet_infinity_depends_on_the_seed_alone():
    a, b, other = (frechet_infinity(*example_features(), seed=seed) for seed in (0, 0, 1))
    assert a == b != other


def test_frechet_infinity_refuses_too_few_examples():
    real, fake = example_features()
    with pytest.raises(UsageError, match="at least 30"):
        frechet_infinity(real, fake[:17])
    assert np.isfinite(frechet_infinity(real[:30], fake[:30]))
