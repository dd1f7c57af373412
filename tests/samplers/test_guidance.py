"""Guidance: closed forms on Gaussians, exact identities, no unused evaluation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.samplers import guidance as g
from aigc_jax.samplers.thresholding import clip_x_0
from aigc_jax.types import UsageError
from tests.oracles import closed_forms, orders

EDM = orders.PROCESSES["edm"]
T = jnp.array([0.5, 1.0])
CONDITION = jnp.array([1, 2])


def by_class(x, t, condition):
    """A different prediction for each condition; 7 is the null condition."""
    if condition is None:
        condition = jnp.full(x.shape[0], 7)
    return jnp.sin(x + condition[:, None].astype(x.dtype)) * (1.0 + t[:, None])


def x_of(width=4):
    return jnp.linspace(-1.0, 1.0, 2 * width).reshape(2, width)


@pytest.mark.checked
@pytest.mark.parametrize("name", ["rectified_flow", "edm", pytest.param("cosine", marks=pytest.mark.slow)])
def test_guidance_of_gaussians_gives_the_exact_gaussian(name, monkeypatch):
    monkeypatch.setattr(closed_forms, "PROCESSES", {name: orders.PROCESSES[name]})
    checks = list(closed_forms.guidances())
    assert len(checks) == 5
    for check in checks:
        assert check.difference < 1e-3, check


def test_classifier_free_of_weight_one_is_the_conditional_model():
    assert g.classifier_free(1.0)(by_class) is by_class
    assert g.autoguidance(1.0, by_class)(by_class) is by_class


def test_classifier_free_of_weight_zero_is_the_unconditional_model():
    x = x_of()
    for null in (None, 7):
        guided = g.classifier_free(0.0, null=null)(by_class)(x, T, CONDITION)
        np.testing.assert_array_equal(guided, by_class(x, T, None))


def test_classifier_free_in_one_call_equals_two_calls():
    x, sizes = x_of(), []

    def counted(x, t, condition):
        sizes.append(x.shape[0])
        return by_class(x, t, condition)

    separate = g.classifier_free(2.5)(counted)(x, T, CONDITION)
    together = g.classifier_free(2.5, null=7)(counted)(x, T, CONDITION)
    assert sizes == [2, 2, 4]
    np.testing.assert_allclose(together, separate, atol=1e-6)
    plain, without = by_class(x, T, CONDITION), by_class(x, T, None)
    np.testing.assert_allclose(separate - without, 2.5 * (plain - without), atol=1e-5)
    away = g.negative_condition(2.5, 3)(by_class)(x, T, CONDITION)
    other = by_class(x, T, jnp.full(2, 3))
    np.testing.assert_allclose(away - other, 2.5 * (plain - other), atol=1e-5)


def test_interval_applies_to_each_example():
    x, t = x_of(), jnp.array([0.5, 3.0])
    limited = g.classifier_free(g.interval(EDM, 3.0, 0.4, 2.0), null=7)(by_class)(x, t, CONDITION)
    everywhere = g.classifier_free(3.0, null=7)(by_class)(x, t, CONDITION)
    np.testing.assert_allclose(limited[0], everywhere[0], atol=1e-6)
    np.testing.assert_array_equal(limited[1], by_class(x, t, CONDITION)[1])
    of_time = g.interval(EDM, lambda t: 2.0 + t, 0.4, 2.0)(jnp.array([0.4, 0.5, 2.0, 3.0]))
    np.testing.assert_array_equal(of_time, [1.0, 2.5, 4.0, 1.0])


def test_interval_skips_the_second_evaluation_outside():
    sizes = []

    def counted(x, t, condition):
        jax.debug.callback(lambda x: sizes.append(len(x)), x)
        return x

    guided = g.classifier_free(g.interval(EDM, 3.0, 0.4, 2.0), null=7)(counted)
    for t in (0.4, 0.41, 2.0, 2.1):  # (low, high]
        jax.block_until_ready(guided(x_of(), jnp.full(2, t), CONDITION))
    jax.effects_barrier()
    assert sizes == [2, 4, 4, 2]


def test_rescale_restores_the_standard_deviation():
    x = x_of(50)
    plain = by_class(x, T, CONDITION)
    guided = g.classifier_free(5.0)(by_class)(x, T, CONDITION)
    full = g.classifier_free(5.0, phi=1.0)(by_class)(x, T, CONDITION)
    np.testing.assert_allclose(np.std(full, axis=1), np.std(plain, axis=1), rtol=1e-4)
    half = g.classifier_free(5.0, phi=0.5)(by_class)(x, T, CONDITION)
    np.testing.assert_allclose(half, 0.5 * (full + guided), rtol=1e-4, atol=1e-5)
    assert (g.rescale(jnp.zeros((1, 3)), jnp.ones((1, 3)), 1.0) == 0).all()


def test_clip_x_0_keeps_predictions_in_range():
    x = jnp.concatenate([jnp.linspace(-4.0, 4.0, 101)[None], jnp.linspace(-0.5, 0.5, 101)[None]])
    for guidance in (clip_x_0(), clip_x_0(percentile=90.0)):
        out = guidance(lambda x, t, condition: x)(x, T, None)
        assert jnp.abs(out).max() <= 1.0
        np.testing.assert_allclose(out[1], x[1], atol=1e-7)  # what lies inside stays
    # 90 % of the deviations of the first example are at most 3.6.
    np.testing.assert_allclose(out[0], np.clip(x[0] / 3.6, -1, 1), atol=1e-6)


def test_chain_applies_guidance_from_the_inside_out():
    guided = g.chain(g.classifier_free(4.0, null=7), clip_x_0())(by_class)(x_of(), T, CONDITION)
    np.testing.assert_allclose(
        guided, jnp.clip(g.classifier_free(4.0, null=7)(by_class)(x_of(), T, CONDITION), -1, 1), atol=1e-6
    )


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: g.classifier_free(-1.0), "weight"),
        (lambda: g.classifier_free(math.nan), "weight"),
        (lambda: g.autoguidance(-1.0, by_class), "weight"),
        (lambda: g.classifier_free(2.0, phi=1.5), "rescaling"),
        (lambda: g.interval(EDM, 2.0, 3.0, 1.0), "interval"),
        (lambda: g.classifier(EDM, lambda x, t, condition: t, -1.0), "scale"),
        (lambda: clip_x_0(1.0, -1.0), "low"),
        (lambda: clip_x_0(percentile=0.0), "percentile"),
        (lambda: g.classifier_free(2.0)(by_class)(x_of(), T, None), "condition"),
    ],
)
def test_guidance_refuses_impossible_settings_in_one_line(make, word):
    with pytest.raises(UsageError, match=word) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rectified_flow", "edm"])
def test_reward_of_gaussians_gives_the_exact_posterior_mean(name):
    """Of N(0, I), a factor exp(a x_0) moves the mean of x_0 given x_t by a sigma^2 / (alpha^2 + sigma^2)."""
    process, slope = orders.PROCESSES[name], jnp.array([1.5, -0.5])

    def levels(t):
        return process.alpha(t)[:, None], process.sigma(t)[:, None]

    def denoise(x, t, condition):
        alpha, sigma = levels(t)
        return x * alpha / (jnp.square(alpha) + jnp.square(sigma))

    x, t = jax.random.normal(jax.random.key(0), (3, 2)), jnp.array([0.2, 0.7, 1.0])
    moved = g.reward(process, lambda x_0: x_0 @ slope)(denoise)(x, t, None)
    alpha, sigma = levels(t)
    precision = 1 + jnp.square(alpha / sigma)
    np.testing.assert_allclose(moved, (x * alpha / jnp.square(sigma) + slope[None]) / precision, rtol=2e-5, atol=1e-6)
    plain = g.reward(process, lambda x_0: x_0 @ slope, 0.0)(denoise)(x, t, None)
    np.testing.assert_array_equal(plain, denoise(x, t, None))
    with pytest.raises(UsageError, match="scale of guidance >= 0"):
        g.reward(process, jnp.sum, -1.0)
