"""Vector quantisation: averages by hand, k-means, restarts, straight-through gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.spatial.distance import cdist

from aigc_jax.algorithms.codebook import Codebook, draw_vectors, nearest, new_codebook, restart, update
from aigc_jax.algorithms.vqvae import Model, vqvae
from aigc_jax.losses.likelihoods import gaussian
from aigc_jax.nets.vae import ConvDecoder, ConvEncoder
from aigc_jax.types import UsageError

KEY = jax.random.key(0)


def test_nearest_matches_scipy(rng):
    vectors, codes = (rng.normal(size=(num, 5)).astype(np.float32) for num in (200, 17))
    found = nearest(jnp.asarray(vectors), jnp.asarray(codes))
    np.testing.assert_array_equal(found, cdist(vectors, codes).argmin(axis=1))


def test_codebook_update_matches_a_hand_calculation():
    """Two examples of two positions; three codes, of which two are taken, thrice and once."""
    book = Codebook(
        codes=jnp.array([[0.0, 0.0], [4.0, 4.0], [9.0, 9.0]]),
        usage=jnp.array([0.5, 0.3, 0.2]),
        sums=jnp.array([[0.0, 0.0], [1.2, 1.2], [1.8, 1.8]]),
        frequencies=jnp.full((2, 3), 1 / 3),
    )
    vectors = jnp.array([[[0.0, 1.0], [1.0, 0.0]], [[5.0, 3.0], [-1.0, 1.0]]])
    index = nearest(vectors.reshape(4, 2), book.codes)
    assert index.tolist() == [0, 0, 1, 0]
    book, share = update(book, vectors, index, decay=0.8)
    np.testing.assert_allclose(share, [0.75, 0.25, 0.0])
    # 0.8 of the old and 0.2 of the new.
    np.testing.assert_allclose(book.usage, [0.4 + 0.15, 0.24 + 0.05, 0.16], rtol=1e-6)
    np.testing.assert_allclose(book.sums, [[0.0, 0.1], [0.96 + 0.25, 0.96 + 0.15], [1.44, 1.44]], rtol=1e-6)
    np.testing.assert_allclose(book.codes, [[0.0, 0.1 / 0.55], [1.21 / 0.29, 1.11 / 0.29], [9.0, 9.0]], rtol=1e-6)
    # The first position saw codes 0 and 1, the second code 0 twice.
    np.testing.assert_allclose(book.frequencies[0], [0.8 / 3 + 0.1, 0.8 / 3 + 0.1, 0.8 / 3], rtol=1e-6)
    np.testing.assert_allclose(book.frequencies[1], [0.8 / 3 + 0.2, 0.8 / 3, 0.8 / 3], rtol=1e-6)


def test_codebook_update_converges_to_cluster_means(rng):
    centers = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32)
    points = centers[:, None] + rng.normal(size=(4, 50, 2)).astype(np.float32)
    vectors = jnp.asarray(points.reshape(100, 2, 2))
    book = restart(new_codebook(4, 2, 2), jnp.ones(4, bool), jnp.asarray(centers + 2))
    step = jax.jit(lambda book: update(book, vectors, nearest(vectors.reshape(-1, 2), book.codes), decay=0.9))
    for _ in range(200):
        book, share = step(book)
    np.testing.assert_allclose(book.codes, points.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(share, 0.25)
    np.testing.assert_allclose(book.usage.sum(), 1.0, rtol=1e-5)


def test_restart_replaces_only_dead_codes():
    book = Codebook(jnp.ones((3, 2)), jnp.array([0.6, 0.0, 0.4]), jnp.ones((3, 2)), jnp.full((1, 3), 1 / 3))
    fresh = restart(book, book.usage < 0.1, jnp.full((3, 2), 7.0))
    np.testing.assert_array_equal(fresh.codes, [[1, 1], [7, 7], [1, 1]])
    np.testing.assert_allclose(fresh.usage, [0.6, 1 / 3, 0.4])
    np.testing.assert_allclose(fresh.sums[1] / fresh.usage[1], [7, 7])


@pytest.mark.slow
def test_draw_vectors_does_not_depend_on_devices(rng):
    vectors = jnp.asarray(rng.normal(size=(8, 3, 2)), jnp.float32)
    index = jnp.arange(8)
    whole = draw_vectors(vectors, KEY, index, 50)
    parts = jax.vmap(lambda v, i: draw_vectors(v, KEY, i, 50, axis_name="data"), axis_name="data")(
        vectors.reshape(4, 2, 3, 2), index.reshape(4, 2)
    )
    for part in parts:
        np.testing.assert_allclose(part, whole, atol=1e-7)
    np.testing.assert_array_equal(draw_vectors(vectors[::-1], KEY, index[::-1], 50), whole)
    assert np.any(draw_vectors(vectors, jax.random.key(1), index, 50) != whole)
    # Every example and position has its chance.
    drawn = draw_vectors(vectors, KEY, index, 2000).reshape(-1, 2)
    counts = np.bincount(nearest(drawn, vectors.reshape(-1, 2)), minlength=24)
    np.testing.assert_allclose(counts / 2000, 1 / 24, atol=0.02)


def build(**options):
    encoder = ConvEncoder((2, 2, 3), (4, 4), num_outputs=1)
    model = Model(encoder, ConvDecoder((8, 8, 1), (4, 4)), (2, 2, 3), gaussian(0.5), num_codes=6)
    return model, vqvae(model, optax.sgd(0.0), **options)


BATCH = {"example": jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 1)), jnp.float32)}


@pytest.mark.slow
def test_vqvae_first_codes_are_encoder_outputs_and_restarts_end():
    model, algorithm = build(restart_below=0.0, codebook_decay=0.5)
    start, step = jax.jit(algorithm.init)(KEY, BATCH), jax.jit(algorithm.step)
    state, first = step(start, BATCH, KEY)
    assert first["vqvae/restarts"] == 6
    _, second = step(state, BATCH, KEY)
    assert second["vqvae/restarts"] == 0
    # With half of the weight on the first batch's own means, every code lies within the span of what was encoded.
    encode = jax.jit(lambda params: model.encoder.apply({"params": params}, BATCH["example"], None))
    latents = np.asarray(encode(start.params["vqvae"]["encoder"])).reshape(-1, 3)
    codes = np.asarray(state.model_state["vqvae"]["codes"])
    assert np.all(codes >= latents.min(axis=0) - 1e-6)
    assert np.all(codes <= latents.max(axis=0) + 1e-6)
    assert len(np.unique(codes, axis=0)) > 1
    assert 1 < first["vqvae/perplexity"] <= 6


@pytest.mark.slow
def test_vqvae_gradient_goes_straight_through(rng):
    """Of the decoder's loss with respect to the encoder's output, as if it had been the code; plus commitment."""
    model, _ = build()
    params, state = jax.jit(model.init)(KEY, BATCH)
    state = {**state, "codes": jnp.asarray(rng.normal(size=(6, 3)), jnp.float32), "usage": jnp.full(6, 1 / 6)}
    image = BATCH["example"]
    encode = jax.jit(lambda params: model.encoder.apply({"params": params}, image, None))
    latents = encode(params["encoder"])
    codes = state["codes"][nearest(latents.reshape(-1, 3), state["codes"])].reshape(latents.shape)

    def of_code(code):
        return -model.likelihood.log_prob(model.decoder.apply({"params": params["decoder"]}, code, None), image).mean()

    wanted = jax.jit(jax.grad(of_code))(codes) + 0.25 * 2 * (latents - codes) / len(image)
    expected = jax.jit(jax.grad(lambda params: jnp.sum(encode(params) * wanted)))(params["encoder"])
    algorithm = vqvae(model, optax.sgd(1.0), restart_below=0.0)
    before = jax.jit(algorithm.init)(KEY, BATCH).replace(params={"vqvae": params}, model_state={"vqvae": state})
    after, _ = jax.jit(algorithm.step)(before, BATCH, KEY)
    moved = jax.tree.map(jnp.subtract, params["encoder"], after.params["vqvae"]["encoder"])
    # An entry near zero is a difference of large terms: what it may miss is a share of the largest entry of its array.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=5e-5 * np.abs(b).max()), moved, expected)


@pytest.mark.slow
def test_vqvae_latents_are_codes_and_the_bound_has_the_prior():
    model, algorithm = build()
    state, _ = jax.jit(algorithm.step)(jax.jit(algorithm.init)(KEY, BATCH), BATCH, KEY)
    variables, book = state.variables, state.model_state["vqvae"]
    latents = jax.jit(lambda variables: model.encode(variables, BATCH, None))(variables)
    decode = jax.jit(lambda latents: model.decode(variables, latents, None))
    distances = cdist(np.asarray(latents).reshape(-1, 3), np.asarray(book["codes"]))
    assert distances.min(axis=1).max() < 1e-6
    # A nudge away from the codes is taken back.
    np.testing.assert_allclose(decode(latents + 1e-4), decode(latents), atol=1e-6)
    np.testing.assert_allclose(np.exp(model.prior(book)).sum(axis=1), 1, rtol=1e-5)
    rows = jax.jit(model.evaluate)(variables, BATCH, KEY)
    outputs = decode(latents)
    np.testing.assert_allclose(rows["mse"], np.square(outputs - BATCH["example"]).mean(axis=(1, 2, 3)), rtol=1e-4)
    index = distances.argmin(axis=1).reshape(8, 4)
    log_prior = np.asarray(model.prior(book))[np.arange(4), index].sum(axis=1)
    weights = {"params": variables["params"]["vqvae"]["decoder"]}
    clear = jax.jit(lambda latents: model.decoder.apply(weights, latents, None))(latents)
    log_likelihood = model.likelihood.log_prob(clear, BATCH["example"])
    np.testing.assert_allclose(rows["elbo"], log_likelihood + log_prior, rtol=1e-4)


@pytest.mark.slow
def test_vqvae_samples_have_the_codes_of_training(rng):
    model, _ = build()
    params, state = jax.jit(model.init)(KEY, BATCH)
    frequencies = np.zeros((4, 6), np.float32)
    frequencies[np.arange(4), [2, 0, 5, 1]] = 1  # each position always had one code
    state = {**state, "codes": jnp.asarray(rng.normal(size=(6, 3)), jnp.float32), "frequencies": frequencies}
    variables = jax.tree.map(jnp.asarray, {"params": {"vqvae": params}, "model_state": {"vqvae": state}})
    images = np.asarray(model.sample(variables, KEY, 200, None))
    usual = np.asarray(
        model.decode(
            variables, variables["model_state"]["vqvae"]["codes"][jnp.array([[2, 0, 5, 1]])].reshape(1, 2, 2, 3), None
        )
    )
    # All but the few with a code from the smoothed part of the prior.
    assert np.mean(np.abs(images - usual).max(axis=(1, 2, 3)) < 1e-5) > 0.97


@pytest.mark.parametrize("options", [{"commitment": -1.0}, {"codebook_decay": 1.0}, {"restart_below": 1.0}])
def test_vqvae_refuses_numbers_out_of_range(options):
    with pytest.raises(UsageError, match="codebook_decay < 1"):
        build(**options)
    with pytest.raises(UsageError, match="two codes"):
        new_codebook(1, 2, 3)
