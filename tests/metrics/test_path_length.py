"""Path lengths against closed forms of linear generators and against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import trim_mean

from aigc_jax.metrics.path_length import interpolate, path_length, path_speed
from aigc_jax.types import UsageError


@jax.jit
def identity_speed(latent_0, latent_1, t):
    """Of the path of the latents themselves."""
    return path_speed(lambda x: x, lambda z: z, (latent_0, latent_1), t)


points_of = jax.jit(interpolate)


def ends(seed, batch=6, size=5):
    return tuple(np.random.default_rng(seed).normal(size=(2, batch, size)).astype(np.float32))


def test_path_speed_of_a_linear_generator_is_the_closed_form():
    latents, t = ends(0), np.linspace(0.0, 1.0, 6, dtype=np.float32)
    generator, encoder = (np.random.default_rng(1).normal(size=n).astype(np.float32) for n in ((5, 8), (8, 3)))
    speed = jax.jit(lambda *latents: path_speed(lambda x: x @ encoder, lambda z: z @ generator + 1.0, latents, t))(
        *latents
    )
    # d/dt of slerp: a (cos(t a) z_1 - cos((1 - t) a) z_0) / sin(a) with the angle a between the latents.
    z_0, z_1, t = (np.asarray(x, np.float64) for x in (*latents, t[:, None]))
    lengths = np.linalg.norm(z_0, axis=1) * np.linalg.norm(z_1, axis=1)
    angle = np.arccos(np.sum(z_0 * z_1, axis=1) / lengths)[:, None]
    velocity = angle * (np.cos(t * angle) * z_1 - np.cos((1 - t) * angle) * z_0) / np.sin(angle)
    expected = np.sum((velocity @ generator @ encoder) ** 2, axis=1)
    np.testing.assert_allclose(speed, expected, rtol=1e-4)


def test_path_speed_of_a_rotation_is_its_angle():
    latents = tuple(np.float32(3) * z / np.linalg.norm(z, axis=1, keepdims=True) for z in ends(3))
    angle = np.arccos(np.sum(latents[0] * latents[1], axis=1) / 9)
    for t in (0.0, 0.3, 1.0):
        at = np.full(6, t, np.float32)
        np.testing.assert_allclose(identity_speed(*latents, at), (3 * angle) ** 2, rtol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(points_of(*latents, at), axis=1), 3.0, rtol=1e-5)


def test_interpolate_ends_at_the_latents():
    latents = ends(4)
    for t in (0, 1):
        np.testing.assert_allclose(points_of(*latents, np.full(6, t, np.float32)), latents[t], atol=1e-5)


def test_path_speed_agrees_with_finite_differences():
    with jax.enable_x64(True):
        latents, t, step = ends(5), np.linspace(0.1, 0.9, 6), 1e-5
        latents = tuple(z.astype(np.float64) for z in latents)
        weight = np.random.default_rng(6).normal(size=(5, 7))
        at = [np.asarray(points_of(*latents, t + s)) for s in (-step, step)]
        features = [np.sin(np.tanh(z @ weight) @ weight.T) for z in at]
        quotient = np.sum(np.square((features[1] - features[0]) / (2 * step)), axis=1)
        speed = jax.jit(
            lambda *latents: path_speed(
                lambda x: jnp.sin(x @ weight.T), lambda z: jnp.tanh(z @ weight), latents, jnp.asarray(t)
            )
        )(*latents)
        np.testing.assert_allclose(speed, quotient, rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 2.0, 1.0 + 1e-7])
def test_interpolate_of_one_direction_is_a_line(factor):
    latent = ends(7)[0]
    half = np.full(6, 0.5, np.float32)
    speed = identity_speed(latent, np.float32(factor) * latent, half)
    np.testing.assert_allclose(speed, np.sum(np.square((factor - 1) * latent), axis=1), atol=1e-6)
    # A latent of length 0 is at a right angle to all others.
    speed = identity_speed(np.zeros((6, 5), np.float32), np.ones((6, 5), np.float32), half)
    np.testing.assert_allclose(speed, (np.pi / 2) ** 2 * 0.5 * 5, rtol=1e-5)


def test_path_speed_of_rounded_images_is_0():
    speed_fn = jax.jit(lambda *z: path_speed(lambda x: jnp.round(127.5 * x), jnp.tanh, z, jnp.full(6, 0.5)))
    np.testing.assert_array_equal(speed_fn(*ends(8)), 0)


def test_path_length_trims_like_scipy():
    values = np.random.default_rng(0).gamma(0.5, 1.0, 1000)
    result = path_length(values)
    assert result == pytest.approx(trim_mean(values, 0.009), rel=1e-3)
    assert result < values.mean()
    assert path_length(np.append(values, [1e9] * 5)) < 2 * result


def test_path_length_refuses_no_speeds_and_nan():
    with pytest.raises(UsageError, match="finite"):
        path_length(np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="at least one"):
        path_length(np.zeros(0))
