"""Importance bounds of known weights, free bits, warm-up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from aigc_jax.losses.bounds import draw_keys, free_bits, importance_bound, kl_warmup, log_mean_exp
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

KEYS = example_keys(jax.random.key(0), 3)


def log_weights(keys):
    """Log-normal weights of mean one, -1000 nats down: exp of them is nothing in float32."""
    return jax.vmap(jax.vmap(jax.random.normal))(keys) - 1000.5


def test_log_mean_exp_of_weights_that_underflow():
    values = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32) * 30 - 2000
    np.testing.assert_allclose(log_mean_exp(jnp.asarray(values)), logsumexp(values, axis=1) - np.log(7), rtol=1e-6)


def test_importance_bound_converges_to_the_mean_weight():
    bounds = jax.jit(lambda keys: importance_bound(log_weights, keys, num_samples=20_000, chunk_size=5000))(KEYS)
    np.testing.assert_allclose(bounds.importance, -1000, atol=0.05)  # log E[w]
    np.testing.assert_allclose(bounds.elbo, -1000.5, atol=0.03)  # E[log w]


@pytest.mark.one_case
@pytest.mark.parametrize(("num_samples", "chunk_size"), [(10, 3), (10, 1), (10, 10), (10, 99), (1, 4)])
def test_importance_bound_does_not_depend_on_chunks(num_samples, chunk_size):
    bounds = importance_bound(log_weights, KEYS, num_samples=num_samples, chunk_size=chunk_size)
    weights = np.asarray(log_weights(draw_keys(KEYS, jnp.arange(num_samples))), np.float64)
    np.testing.assert_allclose(bounds.elbo, weights.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(bounds.importance, logsumexp(weights, axis=1) - np.log(num_samples), rtol=1e-6)


def test_draw_keys_do_not_depend_on_the_number_of_draws():
    few, many = draw_keys(KEYS, jnp.arange(2)), draw_keys(KEYS, jnp.arange(5))
    assert np.all(np.asarray(few == many[:, :2]))
    assert len({tuple(np.asarray(jax.random.key_data(key))) for key in many.reshape(-1)}) == 15


def test_free_bits_give_no_reward_below_the_minimum():
    kl = jnp.array([[0.2, 3.0], [1.0, 0.0]])
    np.testing.assert_allclose(free_bits(kl, 0.5), [[0.5, 3.0], [1.0, 0.5]])
    np.testing.assert_array_equal(free_bits(kl, 0.0), kl)
    slope = jax.grad(lambda kl: free_bits(kl, 0.5).sum())(kl)
    np.testing.assert_array_equal(slope, [[0.0, 1.0], [1.0, 0.0]])


def test_kl_warmup_rises_and_stays():
    steps = jnp.arange(6)
    np.testing.assert_allclose(kl_warmup(2.0, 4)(steps), [0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    np.testing.assert_allclose(kl_warmup(0.3, 0)(steps), 0.3)


@pytest.mark.parametrize("build", [lambda: kl_warmup(-1.0, 3), lambda: kl_warmup(1.0, -3)])
def test_bounds_refuse_negative_numbers(build):
    with pytest.raises(UsageError, match="beta >= 0"):
        build()
