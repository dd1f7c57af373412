"""Programs of a trained model: one for all weights, seeds and sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.points import POINT
from aigc_jax.inference.latents import make_latent_fns
from aigc_jax.inference.perturbation import compile_transformed_sampler, perturb, truncate
from aigc_jax.inference.sampling import compile_sampler, make_encode_fn
from aigc_jax.rng import normal
from aigc_jax.types import Algorithm, Autoencoder, Conditions, Experiment, Latents, UsageError

SPEC = {"example": jax.ShapeDtypeStruct((1, 3), jnp.float32)}


def experiment(**algorithm):
    return Experiment(Algorithm(init=None, step=None, **algorithm), None, SPEC, POINT)


@pytest.mark.slow
def test_compiled_sampler_serves_all_weights_and_seeds():
    traces = []

    def sample(variables, keys, num, condition):
        traces.append(num)
        return variables * normal(keys, (3,))

    sampler = compile_sampler(experiment(sample=sample))
    ones, twos = (sampler(jnp.float32(scale), 0)(5, None, 70) for scale in (1.0, 2.0))
    np.testing.assert_array_equal(twos, 2 * ones)
    assert not np.array_equal(sampler(jnp.float32(1.0), 1)(5, None, 70), ones)
    assert traces == [64]


def test_compiled_sampler_refuses_a_model_that_draws_nothing():
    with pytest.raises(UsageError):
        compile_sampler(experiment())


def test_transformed_sampler_compiles_the_generator_once():
    traces = []

    def generate(variables, latents, keys, condition):
        traces.append(1)
        return latents

    model = experiment(latents=Latents(lambda keys, num: normal(keys, (3,)), generate))
    transformed = compile_transformed_sampler(model, {}, 0)
    plain, narrow, narrower = (transformed(truncate, limit)(0, None, 200) for limit in (9.0, 1.0, 0.5))
    assert np.abs(plain).max() > 1.0
    assert np.abs(narrow).max() <= 1.0
    assert np.abs(narrower).max() <= 0.5
    same, other = (transformed(perturb, share)(0, None, 200) for share in (0.0, 1.0))
    np.testing.assert_allclose(same, plain, atol=1e-4)
    assert abs(np.corrcoef(same.ravel(), other.ravel())[0, 1]) < 0.15  # of 600 independent pairs: 0.04
    assert len(traces) == 1


def test_numbered_conditions_reach_the_model_by_their_array():
    """Samples, transformed samples and latents of one experiment are all given embeddings in place of numbers."""

    def add(variables, values, condition):
        return values + condition

    model = experiment(
        sample=lambda variables, keys, num, condition: normal(keys, (3,)) + condition,
        latents=Latents(lambda keys, num: normal(keys, (3,)), lambda variables, z, keys, condition: z + condition),
        autoencoder=Autoencoder(lambda variables, batch, key: batch["example"] - batch["condition"], add),
    )._replace(conditions=Conditions(["a", "b"], lambda ids: 10.0 * ids[:, None].astype(jnp.float32)))
    ids = np.arange(8, dtype=np.int32) % 2
    samples = compile_sampler(model)({}, 0)(0, ids, 8)
    assert samples[ids == 1].min() > 5
    moved = compile_transformed_sampler(model, {}, 0)(lambda z, keys, amount: amount * z, 1.0)(0, ids, 8)
    np.testing.assert_allclose(moved, samples, rtol=1e-6)
    fns = make_latent_fns(model, {})
    latents = fns.encode(samples, ids)
    assert latents.max() < 5
    np.testing.assert_allclose(fns.decode(latents, ids), samples, rtol=1e-6)


def test_encoder_pads_a_part_of_a_block():
    traces = []

    def evaluate(variables, batch, key):
        traces.append(batch["example"].shape)
        return {"sum": batch["example"].sum(axis=1) + batch["condition"]}

    encode = make_encode_fn(experiment(evaluate=evaluate), {})
    images, labels = np.arange(900, dtype=np.float32).reshape(300, 3), np.arange(300, dtype=np.float32)
    for num in (300, 7):
        found = encode(images[:num], labels[:num])["sum"]
        np.testing.assert_array_equal(found, images[:num].sum(axis=1) + labels[:num])
    assert traces == [(256, 3)]
