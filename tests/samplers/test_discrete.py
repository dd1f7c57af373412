"""Ancestral sampling of tokens: with the exact denoiser the samples have the distribution of the data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.processes.discrete import absorbing, uniform
from aigc_jax.rng import example_keys
from aigc_jax.samplers.discrete import ancestral, draw_limit, token_times
from aigc_jax.types import UsageError

VOCAB, NUM = 3, 20_000
PROCESSES = {"absorbing": absorbing(VOCAB), "uniform": uniform(VOCAB)}
TABLE = np.array([[0.30, 0.02, 0.05], [0.03, 0.25, 0.00], [0.05, 0.00, 0.30]])


def exact_denoiser(process, table):
    """The belief of each of two tokens, by Bayes' rule over all pairs."""
    table = jnp.asarray(table, jnp.float32)

    def denoise(x_t, t, condition):
        likelihood = process.likelihood(x_t, t)
        pairs = likelihood[:, 0, :, None] * likelihood[:, 1, None, :] * table[None]
        return jnp.log(jnp.stack([pairs.sum(axis=2), pairs.sum(axis=1)], axis=1) + 1e-30)

    return denoise


def shares(process, denoise, num_steps):
    """How often each pair is drawn."""

    def draw(key):
        keys = example_keys(key, NUM)
        noise = draw_limit(process, example_keys(jax.random.fold_in(key, 7), NUM), (2,))
        return ancestral(process)(denoise, noise, jnp.asarray(token_times(num_steps)), keys, None)

    x_0 = np.asarray(jax.jit(draw)(jax.random.key(0)))
    assert x_0.min() >= 0
    assert x_0.max() < VOCAB
    return np.bincount(x_0[:, 0] * VOCAB + x_0[:, 1], minlength=VOCAB**2).reshape(VOCAB, VOCAB) / NUM


def is_drawn_from(shares, table):
    """Whether every cell is within four standard errors."""
    return (np.abs(shares - table) <= 4 * np.sqrt(table * (1 - table) / NUM) + 1e-12).all()


@pytest.mark.checked
@pytest.mark.parametrize("name", PROCESSES)
def test_ancestral_in_many_steps_draws_the_joint_distribution(name):
    process = PROCESSES[name]
    drawn = shares(process, exact_denoiser(process, TABLE), 100)
    assert np.abs(drawn - TABLE).sum() / 2 < 0.02
    # Two tokens that are drawn in the same step know nothing of each other: so much of the mass may go astray.
    assert drawn[TABLE == 0].sum() < 0.005


@pytest.mark.checked
@pytest.mark.parametrize("name", PROCESSES)
def test_ancestral_in_one_step_draws_the_product_of_marginals(name):
    process = PROCESSES[name]
    product = TABLE.sum(axis=1)[:, None] * TABLE.sum(axis=0)[None]
    assert is_drawn_from(shares(process, exact_denoiser(process, TABLE), 1), product)


@pytest.mark.parametrize("name", PROCESSES)
def test_ancestral_is_exact_for_independent_tokens(name):
    process = PROCESSES[name]
    product = TABLE.sum(axis=1)[:, None] * TABLE.sum(axis=0)[None]
    assert is_drawn_from(shares(process, exact_denoiser(process, product), 3), product)


@pytest.mark.parametrize("name", PROCESSES)
def test_ancestral_sample_depends_only_on_its_own_key(name):
    process, times = PROCESSES[name], jnp.asarray(token_times(5))
    denoise, keys = exact_denoiser(process, TABLE), example_keys(jax.random.key(1), 6)
    noise = draw_limit(process, keys, (2,))
    solve = jax.jit(functools.partial(ancestral(process), denoise))
    alone = solve(noise[2:4], times, keys[2:4], None)
    np.testing.assert_array_equal(alone, solve(noise, times, keys, None)[2:4])


def test_ancestral_of_absorbing_noise_unmasks_for_good():
    process, keys = PROCESSES["absorbing"], example_keys(jax.random.key(1), 500)
    noise = draw_limit(process, keys, (2,))
    assert (noise == VOCAB).all()
    solve = jax.jit(functools.partial(ancestral(process), exact_denoiser(process, TABLE)))
    half = solve(noise, jnp.array([1.0, 0.75, 0.5]), keys, None)
    assert abs(float((half == VOCAB).mean()) - 0.5) < 0.07
    rest = solve(half, jnp.array([0.5, 0.25, 0.0]), keys, None)
    np.testing.assert_array_equal(rest[half != VOCAB], half[half != VOCAB])


def test_token_times_refuses_zero_steps():
    with pytest.raises(UsageError, match="num-steps"):
        token_times(0)
