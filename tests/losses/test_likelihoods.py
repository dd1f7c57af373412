"""Likelihoods against scipy's distributions; a uniform pmf has 8 bits; a pmf sums to one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aigc_jax.losses import likelihoods
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

SHAPE = (3, 4, 4, 2)
KEYS = example_keys(jax.random.key(0), 3)


def outputs(num):
    return jnp.asarray(np.random.default_rng(num).normal(size=(*SHAPE[:-1], SHAPE[-1] * num)), jnp.float32)


def grey_levels(shape, num_levels=256):
    levels = np.random.default_rng(num_levels).integers(0, num_levels, shape)
    return (2 * levels / (num_levels - 1) - 1).astype(np.float32)


def test_gaussian_of_fixed_std_matches_scipy():
    image, mean = outputs(1), outputs(1)
    expected = stats.norm(np.asarray(mean), 0.3).logpdf(np.asarray(image)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(likelihoods.gaussian(0.3).log_prob(mean, image), expected, rtol=1e-5)


def test_gaussian_of_learned_std_matches_scipy():
    image, both = outputs(1), outputs(2)
    mean, raw = np.split(np.asarray(both, np.float64), 2, axis=-1)
    std = 0.05 * (1 + np.exp(raw) / 0.05)  # log std = m + log(1 + e^(raw - m)) with m = log 0.05
    expected = stats.norm(mean, std).logpdf(np.asarray(image)).sum(axis=(1, 2, 3))
    likelihood = likelihoods.gaussian(min_std=0.05)
    np.testing.assert_allclose(likelihood.log_prob(both, image), expected, rtol=1e-4)
    assert likelihood.num_outputs == 2
    # However sure the network is, the deviation stays above its minimum.
    sure = jnp.concatenate([image, jnp.full_like(image, -100.0)], axis=-1)
    density = stats.norm(0, 0.05).logpdf(0) * 32
    np.testing.assert_allclose(likelihood.log_prob(sure, image), density, rtol=1e-5)


@pytest.mark.slow
def test_bernoulli_matches_scipy_for_extreme_logits(rng):
    logits = outputs(1) * 5
    pixels = np.where(rng.random(SHAPE) < 0.5, -1, 1).astype(np.float32)
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = stats.bernoulli(probability).logpmf((pixels > 0).astype(int)).sum(axis=(1, 2, 3))
    log_prob = likelihoods.bernoulli().log_prob
    np.testing.assert_allclose(log_prob(logits, jnp.asarray(pixels)), expected, rtol=1e-5)
    extreme = jnp.array([[1000.0, -1000.0, 0.0]])
    np.testing.assert_allclose(log_prob(extreme, jnp.array([[-1.0, -1.0, 1.0]])), -1000 + np.log(0.5), rtol=1e-6)
    slope = jax.grad(lambda x: log_prob(x, jnp.array([[-1.0, -1.0, 1.0]])).sum())(extreme)
    np.testing.assert_allclose(slope, [[-1.0, 0.0, 0.5]], atol=1e-6)


def test_bernoulli_of_a_grey_pixel_is_the_mean_over_binary_ones(rng):
    logits, grey = outputs(1), jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)
    log_prob = likelihoods.bernoulli().log_prob
    per_pixel = (-1, 1, 1)
    x, p = logits.reshape(per_pixel), 0.5 * (grey.reshape(per_pixel) + 1)
    white, black = (log_prob(x, jnp.full_like(x, value)) for value in (1.0, -1.0))
    expected = (p[:, 0, 0] * white + (1 - p[:, 0, 0]) * black).reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(log_prob(logits, grey), expected, rtol=1e-5)


@pytest.mark.parametrize("num_levels", [2, 16, 256])
def test_discretized_logistic_sums_to_one(num_levels):
    # Every mean and scale, also those far outside, where a difference of two sigmoids has no digits left.
    mean, log_scale = (grid.reshape(-1, 1) for grid in np.meshgrid([-9, -1, -0.3, 0, 0.77, 1, 9], [-6, -3, 0, 3]))
    levels = np.linspace(-1, 1, num_levels, dtype=np.float32)
    shape = (mean.size * num_levels, 1)
    both = np.concatenate([np.repeat(mean, num_levels, axis=0), np.repeat(log_scale, num_levels, axis=0)], axis=1)
    image = jnp.asarray(np.tile(levels, mean.size).reshape(shape))
    likelihood = likelihoods.discretized_logistic(num_levels=num_levels)
    log_prob = likelihood.log_prob(jnp.asarray(both, jnp.float32), image)
    assert np.all(np.isfinite(log_prob))
    np.testing.assert_allclose(np.exp(log_prob).reshape(mean.size, num_levels).sum(axis=1), 1, atol=2e-5)


def test_discretized_logistic_matches_scipy_and_is_exact_in_the_tails():
    image, mean = grey_levels(SHAPE), outputs(1)
    distribution = stats.logistic(np.asarray(mean, np.float64), 0.2)
    upper = np.where(image > 0.999, 1, distribution.cdf(image + 1 / 255))
    lower = np.where(image < -0.999, 0, distribution.cdf(image - 1 / 255))
    expected = np.log(upper - lower).sum(axis=(1, 2, 3))
    log_prob = likelihoods.discretized_logistic(0.2).log_prob
    np.testing.assert_allclose(log_prob(mean, jnp.asarray(image)), expected, rtol=2e-5)
    # 100 scales from the mean the mass of a bin is e^-100 of the usual, far below float32's smallest difference.
    far = log_prob(jnp.full((1, 1), 20.0), jnp.full((1, 1), 1 / 255))
    edge = stats.logistic(20, 0.2)
    np.testing.assert_allclose(far, edge.logcdf(2 / 255) + np.log(-np.expm1(-2 / 255 / 0.2)), rtol=1e-5)
    slope = jax.grad(lambda mean: log_prob(mean, jnp.full((1, 1), 1 / 255)).sum())(jnp.full((1, 1), 20.0))
    np.testing.assert_allclose(slope, -5.0, rtol=1e-5)


def test_bits_per_dim_of_a_uniform_pmf_is_eight(rng):
    pixels = rng.integers(0, 256, (5, 1024))
    nll = -stats.randint(0, 256).logpmf(pixels).sum(axis=1)
    assert likelihoods.bits_per_dim(jnp.asarray(nll, jnp.float32), 1024).tolist() == [8.0] * 5


def test_likelihood_samples_have_the_moments():
    num, keys = 20_000, example_keys(jax.random.key(1), 20_000)
    binary = likelihoods.bernoulli().sample(jnp.full((num, 1), 0.7), keys)
    assert set(np.unique(binary)) == {-1.0, 1.0}
    assert abs(np.mean(binary > 0) - stats.logistic.cdf(0.7)) < 0.015
    normal = likelihoods.gaussian(0.2).sample(jnp.full((num, 1), 0.1), keys)
    assert abs(normal.mean() - 0.1) < 0.01
    assert abs(normal.std() - 0.2) < 0.01
    levels = likelihoods.discretized_logistic(0.05).sample(jnp.full((num, 1), -0.2), keys)
    np.testing.assert_allclose(levels * 127.5 + 127.5, np.rint(levels * 127.5 + 127.5), atol=1e-3)
    assert abs(levels.mean() + 0.2) < 0.01
    assert abs(levels.std() - 0.05 * np.pi / np.sqrt(3)) < 0.01


@pytest.mark.parametrize(
    "likelihood",
    [
        likelihoods.gaussian(),
        likelihoods.gaussian(2.0),
        likelihoods.discretized_logistic(),
        likelihoods.discretized_logistic(2.0),
        likelihoods.bernoulli(),
    ],
)
def test_likelihood_samples_are_in_range_with_independent_noise(likelihood):
    out = 5 * outputs(likelihood.num_outputs)
    for image in (likelihood.mean(out), likelihood.sample(out, KEYS)):
        assert image.shape == SHAPE
        assert image.dtype == jnp.float32
        assert np.all(np.abs(image) <= 1)
    part = likelihood.sample(out[1:], KEYS[1:])
    np.testing.assert_allclose(part, likelihood.sample(out, KEYS)[1:], atol=1e-6)
    assert likelihood.log_prob(out, likelihood.mean(out)).shape == (3,)


def test_binarize_draws_grey_and_keeps_black_and_white():
    image = jnp.broadcast_to(jnp.array([-1.0, -0.5, 0.0, 1.0]), (4000, 4))
    binary = likelihoods.binarize(image, example_keys(jax.random.key(0), 4000))
    np.testing.assert_allclose(binary.mean(axis=0), image[0], atol=0.05)
    assert np.all(np.abs(binary) == 1)
    other = likelihoods.binarize(image, example_keys(jax.random.key(1), 4000))
    assert np.any(binary != other)


def test_normal_log_prob_matches_scipy(rng):
    x, mean, logvar = (rng.normal(size=(3, 2, 5)).astype(np.float32) for _ in range(3))
    expected = stats.norm(mean, np.exp(logvar / 2)).logpdf(x).sum(axis=(1, 2))
    args = [jnp.asarray(array) for array in (x, mean, logvar)]
    np.testing.assert_allclose(likelihoods.normal_log_prob(*args), expected, rtol=1e-5)
    standard = stats.norm.logpdf(x).sum(axis=(1, 2))
    np.testing.assert_allclose(likelihoods.standard_normal_log_prob(args[0]), standard, rtol=1e-5)


@pytest.mark.parametrize(
    "build",
    [
        lambda: likelihoods.gaussian(0.0),
        lambda: likelihoods.gaussian(min_std=-1.0),
        lambda: likelihoods.discretized_logistic(-0.1),
        lambda: likelihoods.discretized_logistic(num_levels=1),
    ],
)
def test_likelihoods_refuse_impossible_settings_in_one_line(build):
    with pytest.raises(UsageError, match="use ") as caught:
        build()
    assert "\n" not in str(caught.value)
