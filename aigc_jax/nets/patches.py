"""Space to depth and depth to space: squares of pixels as channels."""

from __future__ import annotations

from jaxtyping import Array, Float


def to_patches(x: Float[Array, "batch height width channel"], size: int) -> Float[Array, "batch rows columns value"]:
    """Space to depth: each square of ``size`` x ``size`` pixels becomes one position.

    Args:
        x: [B, H, W, C], sides multiples of ``size``.
        size: pixels a side.

    Returns:
        [B, H / size, W / size, size^2 C].

    >>> import jax.numpy as jnp
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

    Args:
        x: [B, H, W, size^2 C].
        size: pixels a side.

    Returns:
        [B, size H, size W, C].

    Reference:
        Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016, equation 4.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(48.0).reshape(1, 4, 4, 3)
    >>> bool((from_patches(to_patches(x, 2), 2) == x).all())
    True
    """
    if size == 1:
        return x
    batch, rows, columns, values = x.shape
    channels = values // (size * size)
    x = x.reshape(batch, rows, columns, size, size, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * size, columns * size, channels)
