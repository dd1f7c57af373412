"""Conditions that are no numbers, embeddings: training, samples, rows, latents and scores are all given their array."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.algorithms.networks import hide_at_random
from aigc_jax.algorithms.vae import vae
from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.pipeline import batches
from aigc_jax.data.points import POINT
from aigc_jax.inference.diagnostics import make_exact_sample_fn, make_score_fn
from aigc_jax.inference.latents import make_latent_fns
from aigc_jax.inference.likelihood import likelihood_rows
from aigc_jax.inference.sampling import make_encode_fn, make_sample_fn
from aigc_jax.losses.likelihoods import gaussian
from aigc_jax.rng import example_keys, split_by_name, step_key
from aigc_jax.runs import run_training
from aigc_jax.samplers.guidance import classifier_free
from aigc_jax.samplers.likelihood import Likelihood, make_log_likelihood
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import abstract_state, initial_state
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Conditions, Data, Experiment, UsageError
from aigc_jax.worlds.catalog import open_world

pytestmark = pytest.mark.unchecked_types  # arrays of numpy in place of JAX's

NUM_CLASSES, BATCH_SIZE = 3, 8
TABLE = np.random.default_rng(0).normal(size=(NUM_CLASSES, 4)).astype(np.float32)
POINTS = np.random.default_rng(1).normal(size=(BATCH_SIZE, 2)).astype(np.float32)
IDS = np.arange(BATCH_SIZE, dtype=np.int32) % NUM_CLASSES
CONFIG = TrainConfig(batch_size=BATCH_SIZE, steps=1, eval_every=0, sample_every=0)


class Embedded(nn.Module):
    """Two layers on a vector and an embedding; of anything else there is an error."""

    num_outputs: int
    num_classes: int = NUM_CLASSES

    @nn.compact
    def __call__(self, x, *inputs, keys=None):
        label, condition = inputs if len(inputs) == 2 else (x[:, 0], *inputs)
        assert condition.shape == (x.shape[0], 4)
        assert condition.dtype == jnp.float32
        hidden = jnp.concatenate([x, label[:, None], condition], axis=-1)
        return nn.Dense(self.num_outputs)(nn.tanh(nn.Dense(8)(hidden)))


def autoencoder(axis=None):
    return vae(Model(Embedded(6), Embedded(4), (3,), gaussian(), NUM_CLASSES), optax.sgd(0.1), axis_name=axis)


def flow(axis=None, guidance=2.0):
    denoiser = rectified_flow_denoiser(Embedded(2), (2,), num_classes=NUM_CLASSES, bounds=None, num_levels=None)
    return flow_matching(
        denoiser,
        tx=optax.sgd(0.1),
        sampler=make_sampler(denoiser.process, Sampling("euler", 2, guidance=guidance), num_classes=NUM_CLASSES),
        log_likelihood=make_log_likelihood(denoiser.process, Likelihood(num_steps=2)),
        condition_dropout=0.5,
        axis_name=axis,
    )


DATA = Data("points", ArraySource(POINTS, IDS, name="point"), ArraySource(POINTS, IDS, name="point"), "abc")


@functools.cache
def experiment(build):
    shapes = {"example": (BATCH_SIZE, 2), "condition": (BATCH_SIZE, 4)}
    spec = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    return Experiment(
        build(), lambda: DATA, spec, POINT, Conditions(DATA.class_names, lambda ids: jnp.array(TABLE)[ids])
    )


@functools.cache
def variables(build):
    return initial_state(experiment(build), 0).variables


both = pytest.mark.parametrize("build", [autoencoder, flow])


def close(tree, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), tree, other)


@pytest.mark.checked
@both
def test_trainer_gives_a_step_the_array_of_conditions(build, tmp_path):
    model = experiment(build)
    on_devices = model._replace(algorithm=build(axis_name(CONFIG.parallel)))
    trained = run_training(on_devices, CONFIG, tmp_path, data=DATA, name="points", resume_command="").state
    loaded = next(batches(DATA.train, batch_size=BATCH_SIZE, seed=CONFIG.seed, modality=POINT))
    batch = {"example": loaded["example"], "condition": TABLE[loaded["condition"]]}
    jax.tree.map(np.testing.assert_array_equal, model.to_batch(loaded), batch)  # in a loop of one's own
    root = split_by_name(jax.random.key(CONFIG.seed), "train")["train"]
    expected, _ = jax.jit(model.algorithm.step)(initial_state(model, CONFIG.seed), batch, step_key(root, 0))
    close(trained.params, expected.params)


@pytest.mark.checked
@both
def test_samples_rows_and_scores_are_of_the_array_of_conditions(build):
    model, weights = experiment(build), variables(build)
    algorithm, batch = model.algorithm, {"example": POINTS, "condition": TABLE[IDS]}
    keys = {name: split_by_name(jax.random.key(0), name)[name] for name in ("sample", "likelihood", "detect")}
    keys = {name: example_keys(key, BATCH_SIZE) for name, key in keys.items()}
    samples = make_sample_fn(model, weights, 0)(0, IDS, BATCH_SIZE)
    close(samples, jax.jit(algorithm.sample, static_argnums=2)(weights, keys["sample"], BATCH_SIZE, TABLE[IDS]))
    evaluate = jax.jit(algorithm.evaluate)
    close(make_encode_fn(model, weights)(POINTS, IDS), evaluate(weights, batch, jax.random.key(0)))
    rows = likelihood_rows(model, weights, DATA.train, num_examples=BATCH_SIZE, seed=0, batch_size=BATCH_SIZE)
    order = np.random.default_rng(0).permutation(BATCH_SIZE)
    close(rows["nll"], evaluate(weights, batch, keys["likelihood"])["nll"][order])
    for name in list(algorithm.detectors)[:1]:
        found = make_score_fn(model, algorithm.detectors[name], weights, 0)(POINTS, IDS, 0)
        close(found, jax.jit(algorithm.detectors[name].score)(weights, POINTS, TABLE[IDS], keys["detect"]))


def test_hidden_embeddings_are_those_that_guidance_takes_for_no_condition():
    """Hidden are the same examples as of conditions that are numbers."""
    numbers, embeddings = (
        hide_at_random(condition, example_keys(jax.random.key(0), BATCH_SIZE), 0.5, NUM_CLASSES)
        for condition in (jnp.asarray(IDS), jnp.asarray(TABLE[IDS]))
    )
    assert 0 < np.sum(numbers == NUM_CLASSES) < BATCH_SIZE
    none = np.full((1, 4), NUM_CLASSES, np.float32)
    np.testing.assert_array_equal(embeddings, np.concatenate([TABLE, none])[np.asarray(numbers)])
    seen = []
    guided = classifier_free(2.0, null=NUM_CLASSES)(lambda x, t, condition: seen.append(condition) or x)
    guided(jnp.zeros((1, 2)), jnp.zeros(1), jnp.asarray(TABLE[:1]))
    np.testing.assert_array_equal(seen[0], np.concatenate([TABLE[:1], none]))


@pytest.mark.checked
def test_latents_are_of_the_array_of_conditions():
    model, weights = experiment(autoencoder), variables(autoencoder)
    encode, decode = model.algorithm.autoencoder
    fns, batch = make_latent_fns(model, weights), {"example": POINTS, "condition": TABLE[IDS]}
    latents = encode(weights, batch, jax.random.key(0))
    close(fns.encode(POINTS, IDS), latents)
    close(fns.decode(np.asarray(latents), IDS), decode(weights, latents, TABLE[IDS]))


def test_exact_denoiser_of_a_world_is_given_its_modes():
    """The same samples whatever the model itself is given for a mode."""
    embedded = experiment(functools.partial(flow, guidance=1.0))._replace(world=open_world("world:ring8"))
    numbered = embedded._replace(conditions=Conditions(DATA.class_names))
    drawn = [make_exact_sample_fn(each, variables(flow), 0)(0, IDS, BATCH_SIZE) for each in (embedded, numbered)]
    np.testing.assert_array_equal(*drawn)
    assert embedded.world.mode(drawn[0]).tolist() == IDS.tolist()


def test_batch_spec_describes_the_array_of_conditions():
    spec = {**experiment(flow).batch_spec, "condition": jax.ShapeDtypeStruct((BATCH_SIZE,), jnp.int32)}
    with pytest.raises(UsageError, match=r"float32 \(8, 4\).*int32 \(8,\)"):
        abstract_state(experiment(flow)._replace(batch_spec=spec))
