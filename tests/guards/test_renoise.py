"""Re-noise stability against its closed form, and on points of a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.guards.renoise import renoise_stability
from aigc_jax.processes.gaussian import cosine, edm, rectified_flow, variance_preserving
from aigc_jax.types import UsageError

PROCESSES = {"vp": variance_preserving(), "flow": rectified_flow(), "edm": edm(), "cosine": cosine()}


def gaussian_denoiser(process, mean, scale):
    """E[x_0 | x_t] for data N(mean, scale^2)."""

    def denoise(x_t, t, condition):
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        gain = alpha * scale**2 / (alpha**2 * scale**2 + sigma**2)
        return mean + gain * (x_t - alpha * mean)

    return denoise


def mixture_denoiser(process, modes, scale):
    """E[x_0 | x_t] for a mixture of equal Gaussians on a line."""

    def denoise(x_t, t, condition):
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        variance = alpha**2 * scale**2 + sigma**2
        share = jax.nn.softmax(-((x_t - alpha * modes[None]) ** 2) / (2 * variance), axis=1)
        inner = modes[None] + alpha * scale**2 / variance * (x_t - alpha * modes[None])
        return jnp.sum(share * inner, axis=1, keepdims=True)

    return denoise


def keys_of(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("level", [0.05, 0.5])
def test_renoise_stability_of_a_gaussian_is_the_closed_form(process, level):
    """With k = s^2 / (s^2 + r^2): S(x) = (1 - k)^2 |x - mean|^2 / d + k^2 r^2, at every noise level r."""
    mean, scale, num_dims = 0.3, 0.1, 400
    x = mean + jnp.array([0.0, 1.0, -4.0])[:, None] * scale * jnp.ones((3, num_dims))
    k = scale**2 / (scale**2 + level**2)
    expected = (1 - k) ** 2 * np.array([0.0, 1.0, 16.0]) * scale**2 + k**2 * level**2
    score = renoise_stability(
        process, gaussian_denoiser(process, mean, scale), x, keys_of(3), level=level, num_draws=64
    )
    # 400 dimensions times 64 draws: a relative error of 1 % or so.
    np.testing.assert_allclose(score, expected, rtol=0.04)


def test_renoise_stability_is_higher_between_modes():
    process, modes = variance_preserving(), jnp.array([1.0, 2.0, 3.0])
    inside = modes[:, None] + 0.05 * jnp.linspace(-2.0, 2.0, 9)[None]
    x = jnp.concatenate([inside.reshape(-1), jnp.array([1.5, 2.5, 1.45, 2.55])])[:, None]
    denoise = mixture_denoiser(process, modes, 0.05)
    score = renoise_stability(process, denoise, x, keys_of(len(x)), level=0.1)
    assert score[27:].min() > 5 * score[:27].max()


def test_renoise_stability_says_nothing_at_levels_beyond_the_modes():
    """Why the level matters: at noise as wide as all the modes together, the middle of the data is the most stable."""
    process, modes = edm(), jnp.array([-1.0, 1.0])
    denoise = mixture_denoiser(process, modes, 0.05)
    x = jnp.array([[1.0], [0.0]])
    near, far = (renoise_stability(process, denoise, x, keys_of(2), level=level) for level in (0.1, 10.0))
    assert near[1] > near[0]
    assert far[1] < far[0]


def test_renoise_stability_depends_on_its_own_key_and_condition_alone():
    process = edm()

    def denoise(x_t, t, condition):
        return 0.5 * x_t + condition[:, None].astype(x_t.dtype)

    x, keys, condition = jax.random.normal(jax.random.key(1), (6, 3)), keys_of(6), jnp.arange(6)
    score = renoise_stability(process, denoise, x, keys, condition, level=0.3)
    turned = renoise_stability(process, denoise, x[::-1], keys[::-1], condition[::-1], level=0.3)
    np.testing.assert_array_equal(score, turned[::-1])
    few = renoise_stability(process, denoise, x[2:4], keys[2:4], condition[2:4], level=0.3)
    np.testing.assert_allclose(few, score[2:4], rtol=1e-6)
    other = renoise_stability(process, denoise, x, keys_of(6, 1), condition, level=0.3)
    assert np.all(other != score)


def test_renoise_stability_of_images_in_half_precision():
    def denoise(x_t, t, condition):
        return x_t.astype(jnp.bfloat16)

    score = renoise_stability(edm(), denoise, jnp.zeros((2, 4, 4, 1)), keys_of(2), level=0.2, num_draws=64)
    assert score.dtype == jnp.float32
    np.testing.assert_allclose(score, 0.04, rtol=0.2)


@pytest.mark.parametrize(
    ("process", "level", "num_draws"),
    [
        (edm(), 0.0, 8),
        (edm(), -1.0, 8),
        (edm(), 1e3, 8),
        (edm(0.1, 80.0), 0.01, 8),
        (edm(), float("nan"), 8),
        (rectified_flow(), float("inf"), 8),
        (edm(), 0.1, 0),
    ],
)
def test_renoise_stability_refuses_impossible_levels_in_one_line(process, level, num_draws):
    with pytest.raises(UsageError) as caught:
        renoise_stability(process, lambda x, t, c: x, jnp.zeros((1, 1)), keys_of(1), level=level, num_draws=num_draws)
    assert "\n" not in str(caught.value)
