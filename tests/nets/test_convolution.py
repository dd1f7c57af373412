"""Convolution in chunks of the batch is JAX's own, with its gradients to second order; other devices see no chunks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aigc_jax.nets.convolution import CHUNK_BYTES, Conv, conv_general_dilated

KEYS = jax.random.split(jax.random.key(0), 3)
SHAPES = (16, 16, 16, 8), (3, 3, 8, 128), (16, 16, 16, 8)
X, KERNEL, DIRECTION = (jax.random.normal(key, shape) for key, shape in zip(KEYS, SHAPES, strict=True))
NUMBERS = ("NHWC", "HWIO", "NHWC")
OURS = functools.partial(conv_general_dilated, strides=(1, 1), padding="SAME", dimension_numbers=NUMBERS)


def theirs(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS)


def slope_along(conv):
    """The gradient in the kernel of a directional derivative, as R1 takes it."""

    def along(kernel):
        return jnp.mean(jnp.square(jax.jvp(lambda x: jnp.tanh(conv(x, kernel)), (X,), (DIRECTION,))[1]))

    return jax.grad(along)(KERNEL)


@pytest.mark.parametrize(
    "of",
    [
        lambda conv: conv(X, KERNEL),
        lambda conv: jax.grad(lambda kernel: jnp.sum(jnp.sin(conv(X, kernel))))(KERNEL),
        lambda conv: jax.grad(lambda x: jnp.sum(jnp.sin(conv(x, KERNEL))))(X),
        slope_along,
    ],
    ids=["value", "gradient in the kernel", "gradient in the input", "gradient of a derivative"],
)
def test_conv_in_chunks_is_the_convolution_of_jax(of):
    ours, expected = jax.jit(lambda: of(OURS))(), jax.jit(lambda: of(theirs))()
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=2e-6 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize(("platform", "num"), [("cpu", 2), ("tpu", 1), ("cuda", 1)])
def test_conv_has_chunks_on_cpus_alone(platform, num):
    assert X[..., 0].size * 128 * 4 == 2 * CHUNK_BYTES
    text = jax.jit(OURS).trace(X, KERNEL).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == num


def test_conv_has_the_parameters_of_flax():
    ours, flax = Conv(4, (3, 3)), nn.Conv(4, (3, 3))
    x = jnp.ones((2, 4, 4, 3))
    for mine, other in zip(*(jax.tree.leaves(net.init(KEYS[0], x)) for net in (ours, flax)), strict=True):
        np.testing.assert_array_equal(mine, other)
