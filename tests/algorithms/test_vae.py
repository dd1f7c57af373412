"""VAE: bound and KL against closed forms, weights of the KL, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.algorithms.vae import vae
from aigc_jax.losses.bounds import kl_warmup
from aigc_jax.losses.likelihoods import Likelihood, bernoulli, gaussian
from aigc_jax.nets.vae import MLPDecoder, MLPEncoder
from aigc_jax.types import UsageError
from tests.algorithms import linear_gaussian as lg
from tests.algorithms.quadrature import gaussian_kl

BATCH = lg.draw(400)
KEY = jax.random.key(1)


def first_metrics(num_steps=1, **options):
    """Of the first steps of the linear Gaussian model, which does not move."""
    algorithm = vae(lg.model(), optax.sgd(0.0), **options)
    state = algorithm.init(KEY, BATCH).replace(params=lg.variables()["params"])
    step, reports = jax.jit(algorithm.step), []
    for _ in range(num_steps):
        state, metrics = step(state, BATCH, KEY)
        reports.append({name: float(value) for name, value in metrics.items()})
    return reports


@functools.cache
def posterior():
    mean, logvar = lg.model().posterior(lg.variables()["params"]["vae"], BATCH["example"], None)
    return np.asarray(mean), np.asarray(logvar)


@pytest.mark.slow
def test_vae_loss_is_the_closed_form_bound():
    (report,) = first_metrics()
    exact = lg.log_evidence(BATCH).mean() - lg.posterior_kl()
    assert abs(report["vae/elbo"] - exact) < 0.15
    np.testing.assert_allclose(report["vae/loss"], -report["vae/elbo"], rtol=1e-5)


def test_vae_kl_matches_the_densities():
    expected = gaussian_kl(*posterior(), 0.0, 0.0).sum(axis=1).mean()
    (report,) = first_metrics()
    np.testing.assert_allclose(report["vae/kl"], expected, rtol=1e-5)


def test_vae_beta_weighs_the_kl_and_warms_up():
    reports = first_metrics(num_steps=3, beta=kl_warmup(3.0, 2))
    assert [report["vae/beta"] for report in reports] == [1.5, 3.0, 3.0]
    for report in reports:
        loss = report["vae/beta"] * report["vae/kl"] - report["vae/log_likelihood"]
        np.testing.assert_allclose(report["vae/loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(report["vae/elbo"], report["vae/log_likelihood"] - report["vae/kl"], rtol=1e-5)


def test_vae_free_bits_leave_the_reported_bound():
    (plain,), (free,) = first_metrics(), first_metrics(minimum_kl=100.0)
    np.testing.assert_allclose(free["vae/kl"], plain["vae/kl"], rtol=1e-6)
    np.testing.assert_allclose(free["vae/loss"], 2 * 100.0 - plain["vae/log_likelihood"], rtol=1e-5)
    assert free["vae/grad_norm"] != plain["vae/grad_norm"]


def test_vae_encode_is_the_exact_posterior_mean():
    latents = lg.model().encode(lg.variables(offset=0.0), BATCH, KEY)
    x = np.asarray(BATCH["example"]).reshape(-1, 4)
    np.testing.assert_allclose(latents, (x - lg.BIAS) @ lg.GAIN.T, atol=1e-5)
    decoded = lg.model().decode(lg.variables(), jnp.zeros((1, 2)), None)
    np.testing.assert_allclose(decoded.reshape(-1), lg.BIAS, atol=1e-6)


def test_vae_samples_have_the_models_variance():
    # Scaled down, so that hardly any pixel is clipped to [-1, 1].
    variables = lg.variables()
    params = variables["params"]["vae"]
    decoder = jax.tree.map(lambda leaf: 0.4 * leaf, params["decoder"])
    variables = {"params": {"vae": {**params, "decoder": decoder}}, "model_state": {}}
    weight = 0.4 * lg.WEIGHT.astype(np.float64)
    for is_pixel_sampled, noise in ((False, 0.0), (True, 0.1**2)):
        model = lg.model(is_pixel_sampled=is_pixel_sampled)._replace(likelihood=gaussian(0.1))
        images = np.asarray(model.sample(variables, KEY, 20_000, None)).reshape(-1, 4)
        np.testing.assert_allclose(np.cov(images.T), weight.T @ weight + noise * np.eye(4), atol=0.01)
        np.testing.assert_allclose(images.mean(axis=0), 0.4 * lg.BIAS, atol=0.01)


def test_vae_with_a_uniform_decoder_has_eight_bits_per_dimension():
    """All the way through ``evaluate``: a pmf that does not look at its outputs."""

    def log_prob(outputs, image):
        return jnp.full(image.shape[0], -np.log(256.0) * image[0].size, jnp.float32)

    uniform = Likelihood(log_prob, jnp.tanh, lambda outputs, keys: jnp.tanh(outputs), 1, is_discrete=True)
    model = Model(MLPEncoder((3,), (4,)), MLPDecoder((16, 16, 1), (4,)), (3,), uniform, num_importance_samples=20)
    batch = {"example": jnp.zeros((5, 16, 16, 1))}
    params = jax.tree.map(jnp.zeros_like, jax.jit(model.init)(KEY, batch))  # so that q(z | x) = p(z)
    rows = jax.jit(model.evaluate)({"params": {"vae": params}, "model_state": {}}, batch, KEY)
    np.testing.assert_allclose(rows["bits_per_dim"], 8.0, rtol=1e-6)
    np.testing.assert_allclose(rows["elbo"], -256 * np.log(256), rtol=1e-6)


def test_vae_binarizes_by_each_examples_key():
    model = Model(MLPEncoder((3,), (4,)), MLPDecoder((4, 4, 1), (4,)), (3,), bernoulli(), is_binarized=True)
    batch = {"example": jnp.full((6, 4, 4, 1), -0.2)}
    keys = jax.random.split(KEY, 6)
    see = jax.jit(lambda batch, keys: model.preprocess(batch, keys)[0])
    image = see(batch, keys)
    assert model.preprocess(batch, keys)[1] is None
    assert set(np.unique(image)) == {-1.0, 1.0}
    assert len(np.unique(np.asarray(image).reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(model.preprocess({"example": batch["example"][:2]}, keys[4:])[0], image[4:])
    raw, _ = model._replace(is_binarized=False).preprocess(batch, keys)
    np.testing.assert_array_equal(raw, batch["example"])


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: vae(lg.model(), optax.sgd(0.1), beta=-1.0), "beta >= 0"),
        (lambda: vae(lg.model(), optax.sgd(0.1), minimum_kl=-1.0), "minimum_kl >= 0"),
        (lambda: lg.model(num_classes=2).encode(lg.variables(), BATCH, KEY), "no 'condition'"),
        (lambda: lg.model(num_classes=2).decode(lg.variables(), jnp.zeros((1, 2)), None), "a condition for each"),
        (lambda: lg.model().decode(lg.variables(), jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32)), "no condition"),
    ],
)
def test_vae_refuses_impossible_settings_in_one_line(call, expected):
    with pytest.raises(UsageError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)
