"""Sample i is a function of (variables, its key, its condition) alone, and is drawn with the averaged weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.tokenizer import PAD
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

from .table import GENERATIVE, NUM_CLASSES, ROWS, batch_at, built, plain_run

WITHOUT_EVALUATE = {
    "diffusion-simple": "no likelihood is asked for",
    "diffusion-elbo": "no likelihood is asked for",
    "diffusion-hybrid": "no likelihood is asked for",
    "diffusion-vlb": "no likelihood is asked for",
    "consistency-": "no likelihood",
    "latent_diffusion": "a likelihood of latents is none of images",
}
EVALUATED = [name for name in ROWS if not name.startswith(tuple(WITHOUT_EVALUATE))]


@functools.cache
def sampler(name):
    return jax.jit(plain_run(name).algorithm.sample, static_argnums=2)


def condition(name, num):
    return jnp.arange(num) % NUM_CLASSES if ROWS[name].num_classes else None


def draw(name, num, keys=None, variables=None):
    variables = plain_run(name).states[2].variables if variables is None else variables
    keys = example_keys(jax.random.key(3), num) if keys is None else keys
    return sampler(name)(variables, keys, num, condition(name, num))


@pytest.mark.parametrize("name", ROWS)
def test_algorithm_has_sample_and_evaluate(name):
    assert (built(name).sample is not None) == (name in GENERATIVE)
    assert (built(name).evaluate is not None) == (name in EVALUATED)


@pytest.mark.parametrize("name", GENERATIVE)
def test_sample_i_does_not_depend_on_the_number_of_samples(name):
    few, many = draw(name, 4, jax.random.key(3)), draw(name, 8)
    assert many.shape == (8, *ROWS[name].sample_shape)
    modality = ROWS[name].modality
    assert many.dtype == modality.dtype
    low, high = modality.bounds or (0 if modality.prompts is None else PAD, modality.num_levels - 1)
    assert jnp.all((low <= many) & (many <= high))
    # Equal up to the order in which XLA adds: the command line fixes that by drawing in chunks of one size.
    np.testing.assert_allclose(few, many[:4], atol=1e-6)
    assert np.ptp(np.asarray(many), axis=0).max() > 1e-3  # not all one picture


@pytest.mark.parametrize("name", GENERATIVE)
def test_sample_depends_on_its_own_key(name):
    turned = draw(name, 8, jnp.roll(example_keys(jax.random.key(3), 8), NUM_CLASSES))[NUM_CLASSES:]
    np.testing.assert_allclose(draw(name, 8)[: 8 - NUM_CLASSES], turned, atol=1e-6)


@pytest.mark.parametrize("name", GENERATIVE)
def test_sample_uses_the_averaged_weights(name):
    state = plain_run(name).states[2]
    assert state.ema_params
    plain = {"params": state.params, "model_state": state.model_state}
    assert np.any(draw(name, 8) != draw(name, 8, variables=plain))
    averages = {**state.model_state, **state.ema_model_state}
    weights = {"params": {**state.params, **state.ema_params}, "model_state": averages}
    np.testing.assert_array_equal(draw(name, 8), draw(name, 8, variables=weights))


@pytest.mark.parametrize("name", GENERATIVE)
def test_sample_depends_on_the_condition_and_refuses_a_wrong_one(name):
    run = plain_run(name)
    wrong = None if ROWS[name].num_classes else jnp.zeros(4, jnp.int32)
    with pytest.raises(UsageError) as caught:
        run.algorithm.sample(run.states[2].variables, jax.random.key(0), 4, wrong)
    assert "\n" not in str(caught.value)
    if ROWS[name].num_classes:
        draws = [sampler(name)(run.states[2].variables, jax.random.key(3), 4, jnp.full(4, c)) for c in (0, 1)]
        assert np.abs(draws[0] - draws[1]).max() > 1e-4


@pytest.mark.parametrize("name", EVALUATED)
def test_evaluate_gives_a_value_per_example(name):
    run, batch = plain_run(name), batch_at(ROWS[name], 0)
    evaluate = jax.jit(run.algorithm.evaluate)
    keys = example_keys(jax.random.key(0), ROWS[name].batch_size)
    rows = evaluate(run.states[2].variables, batch, keys)
    turned = jax.tree.map(lambda leaf: jnp.roll(leaf, 3, axis=0), batch)
    others = evaluate(run.states[2].variables, turned, jnp.roll(keys, 3))  # an example and its key stay together
    for key, value in evaluate(run.states[2].variables, batch, jax.random.key(0)).items():
        np.testing.assert_allclose(value, rows[key], atol=1e-6)
    assert rows
    for key, value in rows.items():
        assert value.shape[0] == ROWS[name].batch_size
        np.testing.assert_allclose(jnp.roll(value, 3, axis=0), others[key], atol=1e-5)
