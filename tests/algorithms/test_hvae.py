"""Hierarchical VAE: KL of each level, free bits, latents."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.hvae import Model, drawn, hvae
from aigc_jax.losses.likelihoods import bernoulli
from aigc_jax.nets.ladder import Ladder
from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import UsageError
from tests.algorithms.quadrature import gaussian_kl

KEY = jax.random.key(0)
LADDER = Ladder((8, 8, 1), (4, 4), (1, 2, 3), num_blocks=0)
MODEL = Model(LADDER, bernoulli())
PIXELS = np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 1)) > 0
BATCH = {"example": jnp.asarray(np.where(PIXELS, 1.0, -1.0), jnp.float32)}


def rate(count):
    return jnp.where(count < 2, 0.0, 3e-3)


# One program for all tests: beta is 1 at step 0, where nothing moves yet, and 1/2 after it.
ALGORITHM = hvae(MODEL, optax.sgd(rate), beta=lambda step: jnp.where(step == 0, 1.0, 0.5))
step = jax.jit(ALGORITHM.step)


@functools.cache
def training():
    """The metrics of some steps."""
    state, reports = jax.jit(ALGORITHM.init)(KEY, BATCH), []
    for t in range(60):
        state, metrics = step(state, BATCH, KEY if t < 2 else jax.random.fold_in(KEY, t))
        reports.append({name: float(value) for name, value in metrics.items()})
    return reports


def variables_of(change=lambda path, leaf: leaf):
    params = jax.tree_util.tree_map_with_path(change, jax.jit(MODEL.init)(KEY, BATCH))
    return {"params": {"hvae": params}, "model_state": {}}


@pytest.mark.slow
def test_hvae_loss_is_the_sum_of_levels():
    plain, half = training()[:2]
    levels = [plain[f"hvae/kl_level_{level}"] for level in range(3)]
    assert all(value > 0 for value in levels)
    assert "hvae/kl_level_3" not in plain
    np.testing.assert_allclose(plain["hvae/loss"], sum(levels) - plain["hvae/log_likelihood"], rtol=1e-5)
    np.testing.assert_allclose(plain["hvae/loss"], -plain["hvae/elbo"], rtol=1e-5)
    np.testing.assert_allclose(half["hvae/elbo"], plain["hvae/elbo"], rtol=1e-5)
    np.testing.assert_allclose(half["hvae/loss"], 0.5 * sum(levels) - plain["hvae/log_likelihood"], rtol=1e-5)


@pytest.mark.slow
def test_hvae_free_bits_are_of_each_level():
    free = hvae(MODEL, optax.sgd(0.0), minimum_kl=1000.0)
    _, metrics = jax.jit(free.step)(jax.jit(free.init)(KEY, BATCH), BATCH, KEY)
    np.testing.assert_allclose(metrics["hvae/loss"], 3000 - training()[0]["hvae/log_likelihood"], rtol=1e-5)
    np.testing.assert_allclose(metrics["hvae/elbo"], training()[0]["hvae/elbo"], rtol=1e-5)


@pytest.mark.slow
def test_hvae_kl_of_each_level_matches_the_densities():
    # The draws of the step: of its first player's first update, of each example.
    update_key = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    keys = split_by_name(example_keys(update_key, 6), "latent")["latent"]
    params, image = variables_of()["params"]["hvae"], BATCH["example"]
    _, levels = jax.jit(lambda params, keys: MODEL.run_ladder(params, drawn(keys), None, image=image))(params, keys)
    assert [level.latent.shape for level in levels] == [(6, *shape) for shape in LADDER.latent_shapes()]
    metrics = training()[0]
    for number, level in enumerate(levels):
        expected = gaussian_kl(*level.posterior, *level.prior).sum() / 6
        np.testing.assert_allclose(metrics[f"hvae/kl_level_{number}"], expected, rtol=1e-4)


@pytest.mark.slow
def test_hvae_level_with_posterior_at_prior_has_no_kl():
    def silent(path, leaf):
        return jnp.zeros_like(leaf) if "posterior" in jax.tree_util.keystr(path) else leaf

    variables = variables_of(silent)
    _, metrics = step(jax.jit(ALGORITHM.init)(KEY, BATCH).replace(params=variables["params"]), BATCH, KEY)
    for level in range(3):
        np.testing.assert_allclose(metrics[f"hvae/kl_level_{level}"], 0, atol=1e-5)
    # Then the weights are likelihoods, and L_1 and the reported one agree draw by draw.
    np.testing.assert_allclose(metrics["hvae/elbo"], metrics["hvae/log_likelihood"], atol=1e-4)


@pytest.mark.slow
def test_hvae_bound_rises_with_draws():
    variables = variables_of()
    few, many = (
        jax.jit(MODEL._replace(num_importance_samples=k, chunk_size=50).evaluate)(variables, BATCH, KEY)
        for k in (10, 200)
    )
    assert many["elbo"].mean() < -few["nll"].mean() < -many["nll"].mean()
    assert np.all(-many["nll"] >= many["elbo"])
    np.testing.assert_allclose(few["bits_per_dim"], few["nll"] / (64 * np.log(2)), rtol=1e-6)


def test_hvae_encode_and_decode_split_one_vector_into_levels():
    variables = variables_of()
    latents = jax.jit(MODEL.encode)(variables, BATCH, KEY)
    assert latents.shape == (6, 16 + 8 + 3)

    def mean(level, prior, posterior):
        return posterior[0]

    run_ladder = jax.jit(lambda params: MODEL.run_ladder(params, mean, None, image=BATCH["example"])[0])
    expected = MODEL.likelihood.mean(run_ladder(variables["params"]["hvae"]))
    decode = jax.jit(lambda variables, latents: MODEL.decode(variables, latents, None))
    np.testing.assert_allclose(decode(variables, latents), expected, atol=1e-5)


@pytest.mark.slow
def test_hvae_training_learns():
    elbos = [report["hvae/elbo"] for report in training()]
    assert np.mean(elbos[-5:]) > np.mean(elbos[:5]) + 3


def test_hvae_refuses_impossible_settings_in_one_line():
    with pytest.raises(UsageError, match="beta >= 0"):
        hvae(MODEL, optax.sgd(0.1), beta=-1.0)
    for ladder, expected in (
        (Ladder((8, 8, 1), (4, 4), (1, 2)), "give 3"),
        (Ladder((10, 8, 1), (4, 4), (1, 2, 3)), "multiples of 4"),
    ):
        image = jnp.zeros((2, *ladder.image_shape))
        with pytest.raises(UsageError, match=expected):
            Model(ladder, bernoulli()).init(KEY, {"example": image})
