"""Convolution with a gradient that is fast on CPUs too; on other devices it is ``flax.linen.Conv``."""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

CHUNK_BYTES = 2**20
"""Size of an output up to which one convolution takes all examples on a CPU."""

MIN_CHANNELS = 8
"""Input channels from which chunks pay off: with fewer, most of the time is the copying of the input."""


def conv_general_dilated(x: Array, kernel: Array, strides: Any, padding: Any, **settings: Any) -> Array:
    """``jax.lax.conv_general_dilated`` of images [B, H, W, C], on a CPU in chunks of the batch.

    The gradient of the kernel is a product that sums over all positions of all examples. XLA's CPU back end takes its
    whole second factor, the gradient of the output, once for each of its rows: 2.3 times faster where that stays in
    the cache. The sum over chunks is what differentiation of the loop over chunks gives, to any order.
    """
    convolve = functools.partial(jax.lax.conv_general_dilated, window_strides=strides, padding=padding, **settings)
    num = _num_chunks(x, jax.eval_shape(convolve, x, kernel))
    if num == 1 or math.prod(kernel.shape[:-2]) == 1 or x.shape[-1] < MIN_CHANNELS:
        return convolve(x, kernel)

    def in_chunks(x: Array, kernel: Array) -> Array:
        # Chunk i has the examples i, i + num ...: each device has its part of every chunk.
        chunks = x.reshape(x.shape[0] // num, num, *x.shape[1:])
        y = jnp.stack([convolve(chunks[:, i], kernel) for i in range(num)], axis=1)
        return y.reshape(x.shape[0], *y.shape[2:])

    return jax.lax.platform_dependent(x, kernel, cpu=in_chunks, default=convolve)


def _num_chunks(x: Array, y: jax.ShapeDtypeStruct) -> int:
    """The smallest power of two that makes chunks of at most :data:`CHUNK_BYTES`, as far as it divides the batch."""
    num = 1
    while y.size * y.dtype.itemsize > num * CHUNK_BYTES and x.shape[0] % (2 * num) == 0:
        num *= 2
    return num


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""``flax.linen.Conv`` by :func:`conv_general_dilated`; the parameters are the same."""
