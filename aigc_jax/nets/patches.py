"""Resampling of images by whole factors: patches, nearest-neighbour up-sampling and averages of squares."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.types import UsageError


def check_sides(name: str, shape: Sequence[int], multiple: int) -> None:
    """Raise UsageError for images [..., H, W, C] whose sides are no multiples of a number."""
    *_, height, width, channels = shape
    if height % multiple or width % multiple:
        near = " ".join(str(max(round(side / multiple), 1) * multiple) for side in (height, width))
        raise UsageError(
            f"{name} needs sides that are multiples of {multiple}, got {height} x {width}: "
            f"pass --image-shape {near} {channels}, or change the network"
        )


def to_patches(x: Float[Array, "batch height width channel"], size: int) -> Float[Array, "batch rows columns value"]:
    """Space to depth: each square of ``size`` x ``size`` pixels becomes one position [B, H / size, W / size, size^2 C].

    >>> to_patches(jnp.arange(4.0).reshape(1, 2, 2, 1), 2)
    Array([[[[0., 1., 2., 3.]]]], dtype=float32)
    """
    if size == 1:
        return x
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // size, width // size, size * size * channels)


def from_patches(x: Float[Array, "batch rows columns value"], size: int) -> Float[Array, "batch height width channel"]:
    """Depth to space, the inverse of :func:`to_patches`.

    After a convolution this makes a sub-pixel convolution, preferred to a transposed one: on CPU the weight gradient of
    the latter is an order of magnitude slower.

    Reference:
        Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016, equation 4.
    """
    if size == 1:
        return x
    batch, rows, columns, values = x.shape
    channels = values // (size * size)
    x = x.reshape(batch, rows, columns, size, size, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * size, columns * size, channels)


def halve(x: Float[Array, "batch height width channel"]) -> Float[Array, "batch height2 width2 channel"]:
    """Means of squares of two by two."""
    # Four strided views: a reduction over the middle axes of a reshape is slower on CPU.
    return 0.25 * (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2])


def double(x: Float[Array, "batch height width channel"]) -> Float[Array, "batch height2 width2 channel"]:
    """Nearest-neighbour up-sampling by two."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
