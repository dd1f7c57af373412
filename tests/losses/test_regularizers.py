"""Penalties on discriminators whose gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.losses.regularizers import gradient_penalty, interpolate, r1, r2
from aigc_jax.nets.conv import ConvDiscriminator

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (5, 4, 3, 2))
SLOPE = jax.random.normal(jax.random.key(1), (4, 3, 2))
BATCH = {"example": IMAGES, "index": jnp.arange(5)}


def base(params, model_state, batch, key):
    return jnp.arange(5.0), (model_state, {"kept": jnp.float32(3)})


def linear(params, model_state, images, batch):
    """Slope ``SLOPE`` everywhere."""
    return jnp.tensordot(images, SLOPE, 3) + 7.0


def quadratic(params, model_state, images, batch):
    """Slope x at x, so that its square differs from example to example."""
    return 0.5 * jnp.sum(jnp.square(images), axis=(1, 2, 3))


def conditional(params, model_state, images, batch):
    return jnp.sum(images, axis=(1, 2, 3)) * batch["condition"].astype(jnp.float32)


def penalty(transform, step=0, batch=BATCH, params=()):
    losses, (_, metrics) = transform(base)(params, {"step": jnp.int32(step)}, batch, KEY)
    assert float(metrics.pop("kept")) == 3
    ((_, reported),) = metrics.items()
    np.testing.assert_allclose(losses - jnp.arange(5.0), reported, rtol=1e-5, atol=1e-5)
    return reported


SQUARES = np.sum(np.square(IMAGES), axis=(1, 2, 3))


@pytest.mark.slow
def test_r1_of_linear_and_quadratic_discriminators_is_exact():
    np.testing.assert_allclose(penalty(r1(linear, gamma=3.0)), 1.5 * np.sum(np.square(SLOPE)), rtol=1e-5)
    np.testing.assert_allclose(penalty(r1(quadratic, gamma=3.0)), 1.5 * SQUARES, rtol=1e-5)


def test_r2_penalises_at_the_fakes():
    fakes = r2(quadratic, lambda params, state, batch, key: 2 * batch["example"], gamma=2.0)
    np.testing.assert_allclose(penalty(fakes), 4 * SQUARES, rtol=1e-5)


@pytest.mark.slow
def test_gradient_penalty_vanishes_at_slope_one():
    points = lambda params, state, batch, key: batch["example"]  # noqa: E731
    np.testing.assert_allclose(
        penalty(gradient_penalty(quadratic, points, weight=5.0)), 5 * (np.sqrt(SQUARES) - 1) ** 2, rtol=1e-4
    )
    unit = lambda params, state, images, batch: linear(params, state, images, batch) / jnp.linalg.norm(SLOPE)  # noqa: E731
    np.testing.assert_allclose(penalty(gradient_penalty(unit, points)), 0, atol=1e-9)


def test_penalty_is_of_each_example_under_its_own_condition():
    labels = jnp.array([0, 1, 2, 3, 4])
    found = penalty(r1(conditional, gamma=2.0), batch={**BATCH, "condition": labels})
    np.testing.assert_allclose(found, 24 * np.arange(5.0) ** 2, rtol=1e-5)
    changed = {**BATCH, "example": IMAGES.at[2].multiply(10.0)}
    before, after = penalty(r1(quadratic)), penalty(r1(quadratic), batch=changed)
    np.testing.assert_array_equal(np.flatnonzero(before != after), [2])


@pytest.mark.parametrize("every", [1, 3, 4])
def test_lazy_penalty_equals_the_eager_one_on_average(every):
    eager = penalty(r1(quadratic, gamma=3.0))
    lazy = [penalty(r1(quadratic, gamma=3.0, every=every), step=step) for step in range(2 * every)]
    np.testing.assert_allclose(np.mean(lazy, axis=0), eager, rtol=1e-5)
    assert [bool(np.any(value)) for value in lazy] == [step % every == 0 for step in range(2 * every)]


def test_lazy_penalty_has_weight_gradients():
    def scaled(params, model_state, images, batch):
        return params * quadratic(params, model_state, images, batch)

    def total(w, step):
        losses, _ = r1(scaled, gamma=2.0, every=2)(base)(w, {"step": jnp.int32(step)}, BATCH, KEY)
        return jnp.sum(losses)

    # gamma / 2 * every * w^2 |x|^2, differentiated in w.
    slope = jax.jit(jax.grad(total))
    np.testing.assert_allclose(slope(1.5, 0), 2 * 2 * 1.5 * SQUARES.sum(), rtol=1e-5)
    assert float(slope(1.5, 1)) == 0


@pytest.mark.parametrize("transform", [r1, r2, gradient_penalty])
def test_penalty_has_a_finite_gradient_at_slope_zero(transform):
    def flat(params, model_state, images, batch):
        return params * jnp.sum(images, axis=(1, 2, 3))

    points = () if transform is r1 else (lambda params, state, batch, key: batch["example"],)
    loss = transform(flat, *points)(base)
    slope = jax.grad(lambda w: jnp.sum(loss(w, {"step": jnp.int32(0)}, BATCH, KEY)[0]))(0.0)
    assert np.isfinite(slope)


@pytest.mark.parametrize("every", [0, -1])
def test_penalty_refuses_every_below_one(every):
    with pytest.raises(ValueError):
        r1(linear, every=every)


def test_interpolate_is_uniform_on_each_line():
    keys = jax.random.split(KEY, 2000)
    points = np.asarray(interpolate(jnp.ones((2000, 2, 2)), -jnp.ones((2000, 2, 2)), keys))
    assert np.ptp(points, axis=(1, 2)).max() == 0
    from scipy.stats import kstest

    assert kstest(points[:, 0, 0], "uniform", (-1, 2)).pvalue > 1e-3
    np.testing.assert_array_equal(points[:3], interpolate(jnp.ones((3, 2, 2)), -jnp.ones((3, 2, 2)), keys[:3]))


@pytest.mark.slow
@pytest.mark.parametrize("is_penalty", [True, False])
def test_penalty_weight_gradient_matches_reverse_over_reverse(is_penalty):
    net = ConvDiscriminator((4, 8), 16, minibatch_kernels=3)
    image = jax.random.normal(jax.random.key(0), (5, 8, 8, 1))
    params = jax.jit(lambda key: net.init(key, image, None, train=True))(jax.random.key(1))["params"]
    batch = {"example": image, "index": jnp.arange(5)}

    def logits(params, model_state, image, batch):
        return net.apply({"params": params}, image, None, train=True)[0]

    def plain(params):
        slope = jax.grad(lambda image: jnp.sum(logits(params, {}, image, batch)))(image)
        squared = jnp.sum(jnp.square(slope), axis=(1, 2, 3))
        return jnp.mean(jnp.square(jnp.sqrt(squared) - 1.0) if is_penalty else squared)

    def ours(params):
        points = lambda params, model_state, batch, key: batch["example"]  # noqa: E731
        transform = gradient_penalty(logits, points, weight=1.0) if is_penalty else r1(logits, gamma=2.0)
        loss_fn = transform(lambda params, model_state, batch, key: (jnp.zeros(5), (model_state, {})))
        return jnp.mean(loss_fn(params, {"step": 0}, batch, jax.random.key(2))[0])

    expected, grads = jax.jit(jax.value_and_grad(plain))(params)
    value, ours_grads = jax.jit(jax.value_and_grad(ours))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(ours_grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
