"""Path lengths against closed forms of linear generators and against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import trim_mean

from aigc_jax.metrics.path_length import interpolate, path_length, path_speed
from aigc_jax.types import UsageError


def ends(seed, batch=6, size=5, scale=1.0):
    keys = jax.random.split(jax.random.key(seed))
    return tuple(scale * jax.random.normal(key, (batch, size)) for key in keys)


def identity(x):
    return x


def test_path_speed_of_a_linear_generator_is_the_closed_form():
    latents, t = ends(0), jnp.linspace(0.0, 1.0, 6)
    generator, encoder = (jax.random.normal(jax.random.key(i), shape) for i, shape in ((1, (5, 8)), (2, (8, 3))))
    speed = path_speed(lambda x: x @ encoder, lambda z: z @ generator + 1.0, latents, t)
    # d/dt of slerp: a (cos(t a) z_1 - cos((1 - t) a) z_0) / sin(a) with the angle a between the latents.
    z_0, z_1, t = (np.asarray(x, np.float64) for x in (*latents, t[:, None]))
    lengths = np.linalg.norm(z_0, axis=1) * np.linalg.norm(z_1, axis=1)
    angle = np.arccos(np.sum(z_0 * z_1, axis=1) / lengths)[:, None]
    velocity = angle * (np.cos(t * angle) * z_1 - np.cos((1 - t) * angle) * z_0) / np.sin(angle)
    expected = np.sum((velocity @ np.asarray(generator) @ np.asarray(encoder)) ** 2, axis=1)
    np.testing.assert_allclose(speed, expected, rtol=1e-4)


def test_path_speed_of_a_rotation_is_its_angle():
    latents = tuple(3.0 * z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in ends(3))
    angle = np.arccos(np.sum(np.asarray(latents[0]) * latents[1], axis=1) / 9)
    for t in (0.0, 0.3, 1.0):
        speed = path_speed(identity, identity, latents, jnp.full(6, t))
        np.testing.assert_allclose(speed, (3 * angle) ** 2, rtol=1e-4)
        points = interpolate(*latents, jnp.full(6, t))
        np.testing.assert_allclose(jnp.linalg.norm(points, axis=1), 3.0, rtol=1e-5)


def test_interpolate_ends_at_the_latents():
    latents = ends(4)
    for t in (0, 1):
        points = interpolate(*latents, jnp.full(6, float(t)))
        np.testing.assert_allclose(points, latents[t], atol=1e-5)


def test_path_speed_agrees_with_finite_differences():
    with jax.enable_x64(True):
        latents, t, step = ends(5), jnp.linspace(0.1, 0.9, 6), 1e-5
        weight = jax.random.normal(jax.random.key(6), (5, 7))

        def features(z):
            return jnp.sin(jnp.tanh(z @ weight) @ weight.T)

        at = [features(interpolate(*latents, t + s)) for s in (-step, step)]
        quotient = jnp.sum(jnp.square((at[1] - at[0]) / (2 * step)), axis=1)
        speed = path_speed(lambda x: jnp.sin(x @ weight.T), lambda z: jnp.tanh(z @ weight), latents, t)
        np.testing.assert_allclose(speed, quotient, rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 2.0, 1.0 + 1e-7])
def test_interpolate_of_one_direction_is_a_line(factor):
    latent = ends(7)[0]
    speed = path_speed(identity, identity, (latent, factor * latent), jnp.full(6, 0.5))
    np.testing.assert_allclose(speed, np.sum(np.square((factor - 1) * np.asarray(latent)), axis=1), atol=1e-6)
    zeros = (jnp.zeros((1, 5)), jnp.ones((1, 5)))
    np.testing.assert_allclose(path_speed(identity, identity, zeros, jnp.full(1, 0.5)), [(np.pi / 2) ** 2 * 0.5 * 5])


def test_path_speed_of_rounded_images_is_0():
    latents, t = ends(8), jnp.full(6, 0.5)
    speed = path_speed(lambda x: jnp.round(127.5 * x), jnp.tanh, latents, t)
    np.testing.assert_array_equal(speed, 0)


def test_path_length_trims_like_scipy():
    values = np.random.default_rng(0).gamma(0.5, 1.0, 1000)
    result = path_length(values)
    assert result.value == pytest.approx(trim_mean(values, 0.009), rel=1e-3)
    assert result.low < result.value < result.high
    assert result.n == 1000
    assert result.value < values.mean()
    assert path_length(np.append(values, [1e9] * 5)).value < 2 * result.value


def test_path_length_refuses_no_speeds_and_nan():
    with pytest.raises(UsageError, match="finite"):
        path_length(np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="at least one"):
        path_length(np.zeros(0))
