"""Mixtures of Gaussians: density and denoiser against scipy, quadrature and Tweedie; planted violations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aigc_jax.types import UsageError
from aigc_jax.worlds.catalog import open_world
from aigc_jax.worlds.gaussian_mixture import gaussian_mixture, valid_radius
from aigc_jax.worlds.mixture import aithal_grid, cross, grid, line, ring
from tests.worlds.opened import fast_jit

KEY = jax.random.key(0)
MEANS = np.array([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
UNEQUAL = gaussian_mixture("unequal", MEANS, 0.2, weights=[0.8, 0.2])


def turn(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


TURNS = np.stack([turn(0.3), turn(1.9)])
LONG = np.array([[0.5, 0.05], [0.2, 0.1]])
ROTATED = gaussian_mixture("rotated", MEANS[:, :2], LONG, axes=TURNS, weights=[0.3, 0.7])


def names_of(world, points):
    return [world.violation_names[index] for index in fast_jit(world.violation)(jnp.asarray(points, jnp.float32))]


def test_mixture_log_prob_matches_scipy():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    densities = [stats.multivariate_normal(mean, 0.2**2 * np.eye(3)).logpdf(x) for mean in MEANS]
    expected = np.logaddexp(densities[0] + np.log(0.8), densities[1] + np.log(0.2))
    np.testing.assert_allclose(fast_jit(UNEQUAL.log_prob)(jnp.asarray(x)), expected, rtol=1e-4)


def test_rotated_mixture_log_prob_and_samples_match_scipy():
    covariances = [axes @ np.diag(scales**2) @ axes.T for axes, scales in zip(TURNS, LONG, strict=True)]
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    modes = [stats.multivariate_normal(mean[:2], cov) for mean, cov in zip(MEANS, covariances, strict=True)]
    expected = np.logaddexp(modes[0].logpdf(x) + np.log(0.3), modes[1].logpdf(x) + np.log(0.7))
    np.testing.assert_allclose(fast_jit(ROTATED.log_prob)(jnp.asarray(x)), expected, rtol=1e-4)
    condition = np.arange(20_000) % 2
    examples = np.asarray(fast_jit(lambda key: ROTATED.sample(key, 20_000, jnp.asarray(condition)))(KEY))
    for mode, covariance in enumerate(covariances):
        of_mode = examples[condition == mode]
        np.testing.assert_allclose(np.cov(of_mode.T), covariance, atol=0.05 * covariance.max())


@pytest.mark.parametrize("world", [line(), line((1.0, 2.0, 4.0, 5.0)), line((0.0, 1.0), scale=0.5)])
def test_mixture_log_prob_integrates_to_one(world):
    x = np.linspace(-4.0, 9.0, 100_001, dtype=np.float32)
    density = np.exp(np.asarray(fast_jit(world.log_prob)(jnp.asarray(x[:, None])), np.float64))
    assert np.trapezoid(density, x.astype(np.float64)) == pytest.approx(1.0, abs=1e-3)


def quadrature(x_t, alpha, sigma, *, weights=(0.2, 0.3, 0.5), centres=(1.0, 2.0, 4.0), scale=0.3):
    """E[x_0 | x_t] of a mixture on a line by brute force."""
    x = np.linspace(-2.0, 8.0, 100_001)
    prior = sum(w * stats.norm(c, scale).pdf(x) for w, c in zip(weights, centres, strict=True))
    exponents = -0.5 * ((x_t - alpha * x) / sigma) ** 2
    posterior = prior * np.exp(exponents - exponents.max())
    return np.sum(posterior * x) / np.sum(posterior)


QUADRATURE = fast_jit(gaussian_mixture("line", np.array([[1.0], [2.0], [4.0]]), 0.3, weights=[0.2, 0.3, 0.5]).denoise)


@pytest.mark.one_case
@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.01), (0.9, 0.436), (0.5, 0.866), (0.1, 0.995), (1.0, 5.0)])
def test_mixture_denoiser_matches_quadrature(alpha, sigma):
    x_t = np.linspace(-0.5, 5.0, 40, dtype=np.float32) * alpha
    levels = jnp.full(40, alpha), jnp.full(40, sigma)
    expected = [quadrature(x, alpha, sigma) for x in x_t.astype(np.float64)]
    given = QUADRATURE(jnp.asarray(x_t[:, None]), *levels, None)[:, 0]
    np.testing.assert_allclose(given, expected, rtol=2e-4, atol=2e-4)
    # Condition K says that the mode is not known.
    again = QUADRATURE(jnp.asarray(x_t[:, None]), *levels, jnp.full(40, 3))[:, 0]
    np.testing.assert_allclose(again, given, rtol=1e-5)
    mode = [quadrature(x, alpha, sigma, weights=(1.0,), centres=(2.0,)) for x in x_t.astype(np.float64)]
    known = QUADRATURE(jnp.asarray(x_t[:, None]), *levels, jnp.full(40, 1))[:, 0]
    np.testing.assert_allclose(known, mode, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("condition", [None, 1])
@pytest.mark.parametrize(("alpha", "sigma"), [(0.999, 0.0447), (0.8, 0.6), (0.2, 0.98)])
def test_mixture_denoiser_satisfies_tweedies_formula(alpha, sigma, condition):
    noised = np.sqrt(alpha**2 * LONG**2 + sigma**2)
    which = slice(None) if condition is None else slice(condition, condition + 1)
    weights = [0.3, 0.7] if condition is None else [1.0]
    world = gaussian_mixture("noised", alpha * MEANS[which, :2], noised[which], axes=TURNS[which], weights=weights)
    x_t = jnp.asarray(np.random.default_rng(0).uniform(-1, 3, (40, 2)), jnp.float32)
    score = fast_jit(jax.grad(lambda x: world.log_prob(x).sum()))(x_t)
    given = None if condition is None else jnp.full(40, condition)
    x_0 = fast_jit(ROTATED.denoise)(x_t, jnp.full(40, alpha), jnp.full(40, sigma), given)
    np.testing.assert_allclose(x_0, (x_t + sigma**2 * score) / alpha, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("world", "mean"),
    [(line(), [2.0]), (cross(), [0.0] * 16), (ROTATED, [1.4, 0.0])],
    ids=lambda value: str(value)[:20],
)
def test_mixture_denoiser_is_exact_at_both_ends(world, mean):
    denoise = fast_jit(lambda *noised: world.denoise(*noised, None))
    ones, noise = jnp.ones(40), np.random.default_rng(0).normal(size=(40, len(mean))).astype(np.float32)
    for sigma in (0.0, 1e-30, 1e-6):
        np.testing.assert_allclose(denoise(jnp.asarray(noise), ones, sigma * ones), noise, atol=1e-5)
    # sqrt(1.3e-47) is the last alpha of the schedule of Aithal et al., 0 in float32; both tiny is no other case.
    for alpha, sigma in ((0.0, 1.0), (3.6e-24, 1.0), (1e-30, 1e-5)):
        x_0 = denoise(jnp.asarray(sigma * noise), alpha * ones, sigma * ones)
        np.testing.assert_allclose(x_0, np.broadcast_to(mean, noise.shape), atol=1e-5)
    # Only x_t : alpha : sigma matters, though squares of such numbers are 0 or infinite in float32.
    usual = denoise(jnp.asarray(noise), ones, ones)
    for scale in (1e-25, 1e25):
        x_0 = denoise(jnp.asarray(scale * noise), scale * ones, scale * ones)
        np.testing.assert_allclose(x_0, usual, rtol=1e-3, atol=1e-4)
    assert bool(jnp.all(jnp.isfinite(denoise(jnp.asarray(noise) + 1e4, ones, 1e-3 * ones))))


def test_mixture_samples_of_a_condition_have_its_moments():
    condition = np.arange(4000) % 8
    x = fast_jit(lambda key: ring().sample(key, 4000, jnp.asarray(condition)))(KEY)
    angle = 2 * np.pi * condition / 8
    rest = np.asarray(x) - 2**0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert stats.kstest(rest.ravel(), stats.norm(0, 0.05).cdf).pvalue > 1e-3


@pytest.mark.parametrize("num_channels", [1, 2, 16])
def test_valid_radius_is_the_tail_of_the_chi_square_distribution(num_channels):
    assert stats.chi2(num_channels).sf(valid_radius(num_channels) ** 2) == pytest.approx(1e-6, rel=1e-3)


def test_valid_radius_exceeds_five_sigma_in_sixteen_dimensions():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4000, 16)), jnp.float32)
    narrow = gaussian_mixture("narrow", np.zeros((1, 16)), 1.0, num_sigmas=5.0)
    assert float(jnp.mean(fast_jit(narrow.is_valid)(x))) == pytest.approx(stats.chi2(16).cdf(25.0), abs=0.015)
    assert stats.chi2(16).cdf(25.0) < 0.95
    assert bool(jnp.all(fast_jit(gaussian_mixture("wide", np.zeros((1, 16)), 1.0).is_valid)(x)))


def test_mixture_violation_names_planted_faults():
    step = 0.5**0.5
    points = {
        (0.0, 0.0): "valid",
        (0.2, -0.1): "valid",
        (0.5 * step, 0.0): "between modes",
        (-1.5 * step, 2 * step + 0.2): "between modes",
        (0.5 * step, 0.5 * step): "elsewhere",  # the middle of a square: its diagonals join no neighbours
        (2.5 * step, 0.0): "elsewhere",
        (100.0, 100.0): "elsewhere",
        (float("nan"), 0.0): "elsewhere",
    }
    assert names_of(grid(), list(points)) == list(points.values())
    assert names_of(line((1.0, 2.0, 4.0, 5.0)), [[1.1], [1.5], [3.0], [0.5], [5.3]]) == [
        "valid", "between modes", "between modes", "elsewhere", "elsewhere"
    ]  # fmt: skip
    # A tube between two modes is as wide as the wider of the two.
    ends = gaussian_mixture("ends", np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[0.1, 0.1], [0.1, 0.5]]))
    assert names_of(ends, [[2.0, 0.9], [2.0, 2.9], [0.0, 0.9]]) == ["between modes", "elsewhere", "elsewhere"]
    # Along a mode's long axis there is room, across it there is none.
    rotated = open_world("world:rotated8")
    assert names_of(rotated, [[2.0, 0.0], [1.2, 0.5], [1.0, 1.8]]) == ["valid", "between modes", "elsewhere"]


def test_mixture_violation_finds_points_between_modes_in_sixteen_dimensions():
    first, second = np.ones(16), np.tile([1.0, -1.0], 8)  # two rows of Hadamard's matrix
    assert names_of(cross(), [first, (first + second) / 2, 5 * first]) == ["valid", "between modes", "elsewhere"]


def test_mixture_violation_between_is_of_neighbours_only():
    angle = 2 * np.pi * (np.arange(8) + 0.5) / 8
    between = 2**0.5 * np.cos(np.pi / 8) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert set(names_of(ring(), between)) == {"between modes"}
    assert names_of(ring(), np.zeros((8, 2))) == ["elsewhere"] * 8


def test_aithal_grid_is_normalised_and_narrow():
    deviation = 8.0025**0.5
    corner = np.full((4, 2), 4.0) + 0.05 * np.array([[0, 0], [3, 3], [6, 0], [40, 0]])
    assert names_of(aithal_grid(), corner / deviation) == ["valid", "valid", "elsewhere", "elsewhere"]
    assert names_of(grid(), corner / deviation)[2] == "valid"


def test_gaussian_mixture_refuses_impossible_settings():
    with pytest.raises(UsageError, match="scale > 0"):
        gaussian_mixture("x", MEANS, 0.0)
    with pytest.raises(UsageError, match="axes that are orthogonal"):
        gaussian_mixture("x", MEANS[:, :2], 0.1, axes=np.ones((2, 2, 2)))
    for weights in ([1.0], [0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(UsageError, match="2 weights"):
            gaussian_mixture("x", MEANS, 0.1, weights=weights)
    for num_modes, num_channels in ((3, 4), (10, 4), (4, 12)):
        with pytest.raises(UsageError, match="power of 2"):
            cross(num_modes, num_channels=num_channels)
