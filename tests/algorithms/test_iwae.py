"""Importance-weighted bound against the known evidence of a linear Gaussian model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.iwae import iwae
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError
from tests.algorithms import linear_gaussian as lg

BATCH = lg.draw(400)


@functools.cache
def evaluator(num_importance_samples, chunk_size):
    return jax.jit(lg.model(num_importance_samples=num_importance_samples, chunk_size=chunk_size).evaluate)


@functools.cache
def rows(num_importance_samples, chunk_size=100, seed=0):
    result = evaluator(num_importance_samples, chunk_size)(lg.variables(), BATCH, jax.random.key(seed))
    return {name: np.asarray(value, np.float64) for name, value in result.items()}


@pytest.mark.slow
def test_iwae_bounds_rise_to_the_evidence():
    exact, ks = lg.log_evidence(BATCH), (1, 5, 50, 500, 5000)
    gaps = {k: exact + rows(k)["nll"] for k in ks}  # log p(x) - L_k
    means = [gaps[k].mean() for k in ks]
    errors = [gaps[k].std() / np.sqrt(len(exact)) for k in ks]
    # L_1's gap is the KL from q to the posterior, exactly.
    assert abs(means[0] - lg.posterior_kl()) < 4 * errors[0]
    for low, high, error in zip(means, means[1:], errors, strict=False):
        assert high < low + 2 * error
    assert means[0] > 10 * abs(means[2])
    for mean, error in zip(means, errors, strict=True):
        assert mean > -4 * error
    assert abs(means[-1]) < 2e-3
    np.testing.assert_allclose(-rows(5000)["nll"], exact, atol=0.15)


def test_iwae_gap_falls_like_one_over_k():
    # E[log p - L_k] = Var(w) / (2 k p^2) + o(1/k): Domke and Sheldon 2018, theorem 3.
    exact = lg.log_evidence(BATCH)
    gaps = {k: np.mean([exact + rows(k, seed=seed)["nll"] for seed in range(4)]) for k in (20, 200)}
    assert 6 < gaps[20] / gaps[200] < 16


@pytest.mark.slow
def test_iwae_bound_does_not_depend_on_chunks_and_one_draw_is_the_elbo():
    whole = rows(7)
    for chunk_size in (1, 2, 7):
        parts = rows(7, chunk_size)
        np.testing.assert_allclose(parts["nll"], whole["nll"], atol=1e-5)
        np.testing.assert_allclose(parts["elbo"], whole["elbo"], atol=1e-5)
    assert np.all(-whole["nll"] >= whole["elbo"] - 1e-6)  # Jensen, of the same draws
    np.testing.assert_allclose(rows(1)["nll"], -rows(1)["elbo"], atol=1e-6)
    assert "bits_per_dim" not in whole  # a density of continuous pixels has none


def test_iwae_loss_is_the_bound_of_its_draws():
    algorithm = iwae(lg.model(), optax.sgd(0.0), num_importance_samples=50)
    state = jax.jit(algorithm.init)(jax.random.key(0), BATCH)
    state = state.replace(params=lg.variables()["params"])
    _, metrics = jax.jit(algorithm.step)(state, BATCH, jax.random.key(1))
    exact = lg.log_evidence(BATCH).mean()
    assert -0.02 < metrics["vae/loss"] + exact < 0.05
    assert 1 < metrics["vae/effective_samples"] < 50
    assert abs(-metrics["vae/elbo"] + exact - lg.posterior_kl()) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_iwae_training_learns_the_evidence(k):
    """More draws give a tighter bound: a posterior of the wrong shape holds a VAE back, an IWAE less."""
    algorithm = iwae(lg.model(num_importance_samples=200), optax.sgd(0.05), num_importance_samples=k)
    state = jax.jit(algorithm.init)(jax.random.key(0), BATCH)

    @jax.jit
    def run(state):
        def one(state, t):
            return algorithm.step(state, BATCH, jax.random.fold_in(jax.random.key(2), t))[0], None

        return jax.lax.scan(one, state, jnp.arange(400))[0]

    state = run(state)
    nll = jax.jit(algorithm.evaluate)(state.variables, BATCH, jax.random.key(3))["nll"].mean()
    # Maximum likelihood of 400 examples: at most a few parameters / (2 n) better than the truth.
    assert abs(nll + lg.log_evidence(BATCH).mean()) < 0.06


def test_iwae_draws_are_of_each_example():
    evaluate, batch = evaluator(3, 3), jax.tree.map(lambda leaf: leaf[:4], BATCH)
    same = {"example": jnp.broadcast_to(batch["example"][:1], batch["example"].shape)}
    elbo = evaluate(lg.variables(), same, jax.random.key(0))["elbo"]
    assert len(np.unique(np.asarray(elbo))) == 4
    keys = example_keys(jax.random.key(0), 4)
    part = evaluate(lg.variables(), {"example": batch["example"][2:]}, keys[2:])
    whole = evaluate(lg.variables(), batch, keys)
    np.testing.assert_allclose(part["nll"], whole["nll"][2:], atol=1e-5)


@pytest.mark.parametrize("k", [0, -1])
def test_iwae_refuses_zero_draws(k):
    with pytest.raises(UsageError, match="num_importance_samples >= 1"):
        iwae(lg.model(), optax.sgd(0.1), num_importance_samples=k)
    with pytest.raises(UsageError, match="num_samples >= 1"):
        lg.model(num_importance_samples=k).evaluate(lg.variables(), BATCH, jax.random.key(0))
