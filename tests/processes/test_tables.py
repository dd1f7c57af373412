"""Chains given by their betas, against exact products in rational arithmetic."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.processes.gaussian import posterior, variance_preserving
from aigc_jax.processes.tables import discrete_linear
from aigc_jax.types import UsageError

PAPER, STANDARD = (1000, 0.001, 0.2), (1000, 1e-4, 0.02)
EACH = pytest.mark.parametrize("chain", [PAPER, STANDARD, (10, 0.1, 0.3), (1, 0.5, 0.5)])


def squares(chain):
    """alpha^2 of every step as a rational number."""
    num_steps, low, high = chain
    betas = np.linspace(low, high, num_steps)
    products = [Fraction(1)]
    for beta in betas:
        products.append(products[-1] * (1 - Fraction(float(beta))))
    return products


@pytest.mark.slow
@EACH
def test_discrete_linear_matches_the_chain(chain):
    process, exact = discrete_linear(*chain), squares(chain)
    t = jnp.arange(chain[0] + 1, dtype=jnp.float32) / chain[0]
    alphas = [float(square) ** 0.5 for square in exact]
    sigmas = [float(1 - square) ** 0.5 for square in exact]
    np.testing.assert_allclose(process.alpha(t), alphas, rtol=3e-5)
    np.testing.assert_allclose(process.sigma(t), sigmas, rtol=3e-5, atol=0)


def test_discrete_linear_keeps_a_tiny_signal():
    # alpha^2 = 1.3e-47 is no float32, alpha = 3.6e-24 is one.
    process = discrete_linear(*PAPER)
    assert 3.5e-24 < float(process.alpha(1.0)) < 3.7e-24
    assert np.isfinite(float(process.noise_ratio(1.0)))


@pytest.mark.one_case
@EACH
def test_discrete_linear_time_at_inverts_the_noise_ratio(chain):
    process = discrete_linear(*chain)
    t = jnp.linspace(0.0, 1.0, 321)
    np.testing.assert_allclose(process.time_at(process.noise_ratio(t)), t, rtol=1e-4, atol=1e-6)
    assert float(process.time_at(jnp.inf)) == 1.0


@pytest.mark.parametrize("chain", [PAPER, STANDARD])
def test_discrete_linear_step_adds_its_beta(chain):
    process, betas = discrete_linear(*chain), np.linspace(chain[1], chain[2], chain[0])
    step = jnp.arange(2, chain[0] + 1, dtype=jnp.float32)
    at = posterior(process, (step - 1) / chain[0], step / chain[0])
    np.testing.assert_allclose(np.square(at.forward_std), betas[1:], rtol=2e-3)


def test_discrete_linear_of_many_steps_is_variance_preserving():
    t = jnp.linspace(0.0, 1.0, 57)
    chain, limit = discrete_linear(100_000, 0.1 / 100_000, 20.0 / 100_000), variance_preserving(0.1, 20.0)
    np.testing.assert_allclose(chain.alpha(t), limit.alpha(t), rtol=2e-3)
    np.testing.assert_allclose(chain.sigma(t), limit.sigma(t), rtol=2e-3)


def test_discrete_linear_works_with_samplers():
    process = discrete_linear(*STANDARD)
    assert process.alpha(jnp.zeros((3, 2))).shape == (3, 2)
    assert jax.jit(process.sigma)(0.5).dtype == jnp.float32
    slopes = process.derivatives(jnp.array([0.25005, 0.9]))
    assert float(slopes[0].max()) < 0 < float(slopes[1].min())


@pytest.mark.parametrize("chain", [(0, 0.1, 0.2), (10, 0.0, 0.2), (10, 0.1, 1.0)])
def test_discrete_linear_refuses_impossible_chains(chain):
    with pytest.raises(UsageError, match="expected num_steps"):
        discrete_linear(*chain)
