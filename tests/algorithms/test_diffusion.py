"""Diffusion: variational bound of Gaussian data; consistency: grid, curriculum and teacher."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.algorithms.consistency import Curriculum, _heun_step, in_noise_levels, neighbours
from aigc_jax.algorithms.denoiser import Corrupted, Denoiser
from aigc_jax.algorithms.diffusion import bound_term
from aigc_jax.processes.gaussian import cosine, edm, rectified_flow, variance_preserving
from aigc_jax.processes.prediction import Pair, predict
from aigc_jax.samplers.grids import karras
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.types import UsageError

STD = 0.6


@pytest.mark.slow
@pytest.mark.parametrize("process", [variance_preserving(), cosine()], ids=["linear", "cosine"])
def test_diffusion_bound_of_gaussian_data_tightens_to_the_entropy(process):
    """Data N(0, s^2) with the best denoiser: the sum over the chain approaches the entropy from above."""

    def bound(num_steps):
        # The terms are quadratic in (x_0, epsilon): Gauss-Hermite quadrature with three nodes each is exact.
        nodes, weights = np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0]), np.array([1.0, 4.0, 1.0]) / 6.0
        number, x_0, epsilon = (a.ravel() for a in np.meshgrid(np.arange(1, num_steps + 1), nodes * STD, nodes))
        weight = np.outer(weights, weights)[None].repeat(num_steps, 0).transpose(1, 0, 2).ravel()
        t = jnp.asarray(number / num_steps * process.t_max, jnp.float32)
        x_0, epsilon = (jnp.asarray(a[:, None], jnp.float32) for a in (x_0, epsilon))
        x_t, alpha, sigma = process.corrupt(x_0, epsilon, t), process.alpha(t)[:, None], process.sigma(t)[:, None]
        best = alpha * STD**2 * x_t / (alpha**2 * STD**2 + sigma**2)
        denoiser = Denoiser(nn.Dense(1), process, predict(process, "x_0"), (1,), bounds=None, num_levels=None)
        noisy = Corrupted(x_t, t, Pair(x_0, epsilon), None, jax.random.split(jax.random.key(0), len(t)))
        # Data that are wide compared with one step's noise: the reverse step is as wide as the forward one, fraction 1.
        terms = bound_term(denoiser, noisy, best, jnp.ones_like(best), num_steps=num_steps)
        alpha, sigma = float(process.alpha(process.t_max)), float(process.sigma(process.t_max))
        marginal = alpha**2 * STD**2 + sigma**2
        prior = 0.5 * (marginal - 1 - np.log(sigma**2))  # E KL(q(x_T | x_0) || N(0, 1)) for these data
        return float(np.sum(weight * np.asarray(terms, np.float64))) + prior

    entropy = 0.5 * np.log(2 * np.pi * np.e * STD**2)
    coarse, fine = bound(5), bound(200)
    assert entropy < fine + 1e-3
    assert fine < coarse - 0.01
    assert fine == pytest.approx(entropy, abs=0.05)


@pytest.mark.slow
def test_diffusion_bound_of_few_levels_is_a_probability():
    """The last term of the bound of black and white pixels: both levels together have the mass 1."""
    process, t = variance_preserving(), jnp.full(2, 0.1)
    denoiser = Denoiser(nn.Dense(1), process, predict(process, "x_0"), (1,), num_levels=2)
    levels, x_t, output = jnp.array([[-1.0], [1.0]]), jnp.full((2, 1), 0.2), jnp.full((2, 1), 0.3)
    noisy = Corrupted(x_t, t, Pair(levels, levels), None, jax.random.split(jax.random.key(0), 2))
    nats = bound_term(denoiser, noisy, output, jnp.ones((2, 1)), num_steps=10)
    assert float(jnp.exp(-nats).sum()) == pytest.approx(1, abs=1e-5)


def test_curriculum_matches_the_paper():
    # Song and Dhariwal 2023, section 3.4: s_0 = 10, s_1 = 1280 doubles every K / 8 steps.
    curriculum = Curriculum(800, 10, 1280)
    found = [float(curriculum.num_intervals(jnp.int32(step))) for step in (0, 99, 100, 350, 700, 799, 5000)]
    assert found == [10, 10, 20, 80, 1280, 1280, 1280]


def test_curriculum_reaches_its_end_for_any_ratio():
    # K' = floor(K / (log2(s_1 / s_0) + 1)) = floor(800 / (log2(10) + 1)) = 185: four doublings, then the cap.
    curriculum = Curriculum(800, 10, 100)
    assert [float(curriculum.num_intervals(jnp.int32(step))) for step in (184, 185, 739, 740)] == [10, 20, 80, 100]


@pytest.mark.slow
def test_consistency_multistep_uses_every_evaluation():
    sampler = {n: make_sampler(edm(), Sampling("multistep", n, grid="karras"), is_consistency=True) for n in (1, 2)}

    def model(x, t, condition):
        # The identity at the least noise, as every consistency model.
        return x * jnp.minimum(0.002 / t, 1.0)[:, None] + (t > 0.002)[:, None].astype(jnp.float32) * jnp.tanh(x)

    keys = jax.random.split(jax.random.key(0), 4)
    assert jnp.abs(sampler[1](model, (1,), keys) - sampler[2](model, (1,), keys)).min() > 1e-3


@pytest.mark.parametrize(
    ("sampling", "is_consistency"),
    [
        (Sampling("heun", 2), True),
        (Sampling("multistep", 2), False),
        (Sampling("multistep", 2, guidance=2.0), True),
    ],
)
def test_make_sampler_refuses_samplers_of_other_models(sampling, is_consistency):
    with pytest.raises(UsageError) as caught:
        make_sampler(edm(), sampling, num_classes=3, is_consistency=is_consistency)
    assert "\n" not in str(caught.value)


def test_neighbours_match_the_karras_grid():
    process, num_intervals = edm(), 17
    grid = np.asarray(karras()(process, num_intervals + 1))[:-1][::-1]  # ascending, without the clean end
    t = jnp.array([0.0001, 0.01, 0.5, 3.0, 79.0, 500.0])
    low, high = neighbours(process, t, float(num_intervals))
    for value, below, above in zip(np.clip(t, 0.002, 80.0), low, high, strict=True):
        place = np.clip(np.searchsorted(grid, value, side="right") - 1, 0, num_intervals - 1)
        np.testing.assert_allclose([below, above], grid[place : place + 2], rtol=1e-4)


def test_consistency_teacher_step_follows_the_ode():
    # Data N(0, s^2): the ODE's solution is x(t) proportional to sqrt(s^2 + t^2).
    def best(x, sigma, condition):
        return x * (STD**2 / (STD**2 + sigma**2))[:, None]

    t, x = jnp.array([1.0]), jnp.array([[0.8]])
    errors = []
    for step in (0.4, 0.2):
        s = t - step
        exact = x * jnp.sqrt((STD**2 + s**2) / (STD**2 + t**2))[:, None]
        errors.append(float(jnp.abs(_heun_step(best, x, t, s, None) - exact)[0, 0]))
    assert errors[1] < errors[0] / 5  # one step of a method of order 2 errs by the cube of its length


def test_in_noise_levels_converts_a_denoiser_of_any_process():
    process = rectified_flow()

    def best(x_t, t, condition):
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return alpha * STD**2 * x_t / (alpha**2 * STD**2 + sigma**2)

    sigma, x = jnp.array([0.01, 1.0, 80.0]), jnp.array([[0.5], [0.5], [50.0]])
    exact = x * (STD**2 / (STD**2 + sigma**2))[:, None]
    np.testing.assert_allclose(in_noise_levels(best, process)(x, sigma, None), exact, rtol=1e-4)
