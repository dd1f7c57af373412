"""In-painting of correlated Gaussians with a known conditional distribution; image-to-image in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.samplers import grids
from aigc_jax.samplers.ddim import ancestral
from aigc_jax.samplers.inpainting import keep_known, repaint, start_from
from aigc_jax.samplers.ode import heun
from aigc_jax.types import UsageError
from tests.oracles import closed_forms, orders

FLOW = orders.PROCESSES["rectified_flow"]
COVARIANCE = np.array([[1.0, 0.8], [0.8, 1.0]])
NUM = 3000
MASK = jnp.array([[1.0, 0.0]])


def painted(make, num_steps=30):
    """x_1 = 1 is known: x_2 is N(0.8, 0.36)."""
    denoise, times = closed_forms.gaussian_denoiser(FLOW, np.zeros(2), COVARIANCE), grids.uniform()(FLOW, num_steps)
    known, keys = jnp.tile(jnp.array([[1.0, 0.0]]), (NUM, 1)), jax.random.split(jax.random.key(0), NUM)
    x = jax.random.normal(jax.random.key(1), (NUM, 2))
    out = np.asarray(jax.jit(lambda x: make(known, denoise)(x, times, keys))(x))
    np.testing.assert_allclose(out[:, 0], 1.0, atol=1e-6)
    return out[:, 1]


@pytest.mark.checked
def test_repaint_with_resamples_draws_the_conditional_distribution():
    def solve(num_resamples):
        return lambda known, denoise: (
            lambda x, times, keys: repaint(FLOW, ancestral(FLOW), known, MASK, num_resamples=num_resamples)(
                denoise, x, times, keys
            )
        )

    plain, resampled = painted(solve(1)), painted(solve(10))
    errors = [abs(unknown.mean() - 0.8) for unknown in (plain, resampled)]
    assert errors[1] < 0.05 < errors[0]
    assert abs(resampled.std() - 0.6) < 0.1


@pytest.mark.checked
def test_keep_known_steers_the_unknown_pixels():
    def make(known, denoise):
        return lambda x, times, keys: heun(FLOW)(keep_known(known, MASK)(denoise), x, times, keys)

    assert 0.2 < painted(make).mean() < 1.0  # from 0 towards 0.8, though not to the exact distribution


@pytest.mark.checked
@pytest.mark.parametrize("name", ["rectified_flow", "edm"])
def test_start_from_a_gaussian_has_exact_moments(name):
    """The ODE is affine: from alpha c + sigma z at the start to m + (x - alpha m) times the ratio of the deviations."""
    process, mean, std, image = orders.PROCESSES[name], 0.7, 0.5, 2.0
    denoise = closed_forms.gaussian_denoiser(process, np.array([mean]), np.array([[std**2]]))
    keys = jax.random.split(jax.random.key(0), 4)
    begin, times = start_from(process, grids.karras()(process, 80), jnp.full((4, 1), image), keys, 0.4)
    assert times.shape == (33,)
    out = jax.jit(lambda x: heun(process)(denoise, x, times, keys))(begin)
    alpha, sigma = float(process.alpha(times[0])), float(process.sigma(times[0]))
    expected = mean + (np.asarray(begin) - alpha * mean) * std / np.hypot(alpha * std, sigma)
    np.testing.assert_allclose(out, expected, atol=5e-3)
    assert np.std((np.asarray(begin) - alpha * image) / sigma) > 0.2


def test_start_from_strength_selects_the_steps():
    times, keys = grids.uniform()(FLOW, 10), jax.random.split(jax.random.key(0), 1)
    assert start_from(FLOW, times, jnp.ones((1, 1)), keys, 1.0)[1].shape == (11,)
    assert start_from(FLOW, times, jnp.ones((1, 1)), keys, 1e-6)[1].shape == (2,)


def test_inpainting_refuses_impossible_settings():
    times, keys = grids.uniform()(FLOW, 10), jax.random.split(jax.random.key(0), 1)
    for strength in (0.0, 1.5):
        with pytest.raises(UsageError, match="strength"):
            start_from(FLOW, times, jnp.ones((1, 1)), keys, strength)
    with pytest.raises(UsageError, match="num_resamples"):
        repaint(FLOW, ancestral(FLOW), jnp.ones((1, 1)), jnp.ones((1, 1)), num_resamples=0)
