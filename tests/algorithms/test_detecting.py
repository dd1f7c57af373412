"""Detectors: default conditions, levels, windows, and models without one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.denoiser import Denoiser, make_denoising, renoise_detectors
from aigc_jax.algorithms.detecting import elbo_detector
from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.algorithms.latent_diffusion import latent_diffusion
from aigc_jax.guards.trajectory import trajectory_observer
from aigc_jax.nets.mlp import MLPDenoiser
from aigc_jax.processes.gaussian import rectified_flow
from aigc_jax.processes.prediction import predict
from aigc_jax.samplers.sampling import Sampling, make_sampler
from aigc_jax.types import Algorithm, Autoencoder, UsageError

FLOW = rectified_flow()
KEYS = jax.random.split(jax.random.key(0), 5)


def denoiser_of(num_classes=0, **options):
    net = MLPDenoiser((8,), num_classes=num_classes)
    return Denoiser(net, FLOW, predict(FLOW, "velocity"), (2,), num_classes, None, None, **options)


def variables_of(denoiser):
    label = {"condition": jnp.zeros(1, jnp.int32)} if denoiser.num_classes else {}
    params = denoiser.init(jax.random.key(1), {"example": jnp.zeros((1, 2)), **label})
    params = jax.tree.map(lambda p: p + 0.2 * jax.random.normal(jax.random.key(2), p.shape), params)
    return {"params": {"denoiser": params}, "model_state": {}}


@pytest.mark.slow
def test_renoise_detector_without_condition_uses_the_null_condition():
    denoiser = denoiser_of(3)
    variables, points = variables_of(denoiser), jax.random.normal(jax.random.key(3), (5, 2))
    score = renoise_detectors(denoiser)["renoise"].score
    left_out = score(variables, points, None, KEYS)
    np.testing.assert_array_equal(left_out, score(variables, points, jnp.full(5, 3), KEYS))
    assert np.all(left_out != score(variables, points, jnp.zeros(5, jnp.int32), KEYS))


@pytest.mark.slow
def test_renoise_detectors_are_named_by_level():
    found = renoise_detectors(denoiser_of(renoise_levels=(0.1, 0.25)))
    assert list(found) == ["renoise", "renoise_0.25"]
    assert not any(detector.is_typical_best for detector in found.values())
    variables = variables_of(denoiser_of())
    alone = renoise_detectors(denoiser_of(renoise_levels=(0.25,)))["renoise"]
    given = variables, jnp.ones((5, 2)), None, KEYS
    np.testing.assert_array_equal(found["renoise_0.25"].score(*given), alone.score(*given))
    with pytest.raises(UsageError, match="noise level"):
        renoise_detectors(denoiser_of(renoise_levels=(-1.0,)))


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("num_steps", "names"),
    [
        (2, ["trajectory_variance"]),
        (6, ["trajectory_variance", "trajectory_variance_0_4"]),
        (20, ["trajectory_variance", "trajectory_variance_0_4", "trajectory_variance_0_19"]),
    ],
)
def test_trajectory_observer_takes_windows_within_the_trajectory(num_steps, names):
    denoising = make_denoising(denoiser_of(), make_sampler(FLOW, Sampling("euler", num_steps), is_bounded=False))
    denoise = denoising.denoiser(variables_of(denoiser_of()))
    observer = trajectory_observer(denoising.num_steps)
    assert list(denoising.draw(denoise, KEYS, None, observer=observer)[1]) == names


@pytest.mark.parametrize("settings", [("restart", 20), ("euler", 1)])
def test_trajectory_observer_needs_steps_to_observe(settings):
    denoising = make_denoising(denoiser_of(), make_sampler(FLOW, Sampling(*settings), is_bounded=False))
    assert trajectory_observer(denoising.num_steps) is None


def fake_evaluate(variables, batch, keys):
    """log p(x | c) = -x - c, and of no class at all where a model takes one."""
    return {"elbo": -batch["example"][:, 0, 0, 0] - batch["condition"].astype(jnp.float32)}


def test_elbo_detector_without_condition_is_the_mean_over_classes():
    images = jnp.arange(5.0)[:, None, None, None]
    detector = elbo_detector(fake_evaluate, 3)
    assert detector.is_typical_best
    np.testing.assert_allclose(detector.score({}, images, jnp.full(5, 2), KEYS), np.arange(5) + 2.0)
    mixture = np.log(np.mean(np.exp([0.0, -1.0, -2.0])))
    np.testing.assert_allclose(detector.score({}, images, None, KEYS), np.arange(5) - mixture, rtol=1e-6)
    null = elbo_detector(fake_evaluate, 3, null=3)
    np.testing.assert_allclose(null.score({}, images, None, KEYS), np.arange(5) + 3.0)


def test_latent_diffusion_detectors_score_scaled_latents():
    denoiser = rectified_flow_denoiser(MLPDenoiser((8,)), (2,), bounds=None, num_levels=None)
    sampler = make_sampler(FLOW, Sampling("euler", 4), is_bounded=False)
    inner = flow_matching(denoiser, tx=optax.sgd(1e-3), sampler=sampler)
    halved = Algorithm(
        inner.init,
        inner.step,
        autoencoder=Autoencoder(
            encode=lambda variables, batch, key: batch["example"][:, 0, :, 0],
            decode=lambda variables, latents, condition: jnp.tanh(latents)[:, None, :, None],
        ),
    )
    outer = latent_diffusion(inner, halved, {}, scale=0.5)
    variables, images = variables_of(denoiser), jax.random.normal(jax.random.key(4), (5, 2, 2, 1))
    np.testing.assert_array_equal(
        outer.detectors["renoise"].score(variables, images, None, KEYS),
        inner.detectors["renoise"].score(variables, 0.5 * images[:, 0, :, 0], None, KEYS),
    )
