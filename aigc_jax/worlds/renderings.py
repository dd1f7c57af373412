"""Exact nearest legal picture by Hamming distance, over the list of all legal pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.types import UsageError

MARGIN = 0.5
"""A pixel is white from here to 1 and black from -1 to minus this; between, it is grey, and wrong anywhere."""

LEAST_SIGMA = 1e-3
"""With so little noise, one picture alone is possible; with less, float32 would overflow."""


class Renderings(NamedTuple):
    """Every legal picture of one frame, white on black."""

    pictures: Bool[np.ndarray, "rendering pixel"]
    kinds: Int[np.ndarray, " rendering"]


def all_renderings(pictures: Sequence[np.ndarray]) -> Renderings:
    """The pictures of several kinds, each bool [L, height, width], in one list."""
    kinds = np.repeat(np.arange(len(pictures), dtype=np.int32), [len(of_kind) for of_kind in pictures])
    return Renderings(np.concatenate([of_kind.reshape(len(of_kind), -1) for of_kind in pictures]), kinds)


def num_different(
    is_white: Bool[Array, "num pixel"], pictures: Float[Array, "rendering pixel"]
) -> Int[Array, "num rendering"]:
    """Hamming distance of each image from each picture (1 for white), exact."""
    # Whole numbers far below 2^24 are exact in float32, whose products are by far the fastest.
    white = is_white.astype(jnp.float32)
    common = jnp.matmul(white, pictures.T, precision="highest")
    return (white.sum(axis=1)[:, None] + pictures.sum(axis=1)[None] - 2.0 * common).astype(jnp.int32)


def num_wrong(
    x: Float[Array, "num pixel"], picture: Bool[Array, "num pixel"], margin: float = MARGIN
) -> Int[Array, " num"]:
    """Number of pixels of each image in [-1, 1] that are not as in its picture: wrong, grey, or NaN.

    A pixel is right if it is on its own side of 0 by at least ``margin``, from 0 to 1.

    >>> num_wrong(jnp.array([[0.9, 0.1, -0.9, 0.9]]), jnp.array([[True, True, False, False]]))
    Array([2], dtype=int32)
    """
    # NaN compares as False.
    is_right = jnp.where(picture, x, -x) >= margin
    return jnp.sum(~is_right, axis=1, dtype=jnp.int32)


def separation(renderings: Renderings) -> int:
    """The fewest pixels in which pictures of different kinds differ, from each other or from a blank.

    An image nearer than half of it to a picture of one kind is further from those of every other.
    """
    white = renderings.pictures.astype(np.float32)
    sizes = white.sum(axis=1)
    least = sizes.min()
    for kind in range(int(renderings.kinds.max())):
        is_one, is_later = renderings.kinds == kind, renderings.kinds > kind
        different = sizes[is_one][:, None] + sizes[is_later][None] - 2.0 * white[is_one] @ white[is_later].T
        least = min(least, different.min())
    return int(least)


def check_tolerance(renderings: Renderings, tolerance: int, margin: float) -> None:
    """Raise UsageError for a tolerance with which one image could pass for two kinds, or an impossible margin."""
    if not 0.0 <= margin < 1.0:
        raise UsageError(f"expected a margin from 0 to 1 of what is black or white, got {margin}")
    least = separation(renderings)
    if tolerance < 0 or 2 * tolerance >= least:
        raise UsageError(
            f"expected a tolerance from 0 to {(least - 1) // 2} wrong pixels, as pictures of different kinds differ in "
            f"{least} or more; got {tolerance}"
        )


def evidence(
    x_t: Float[Array, "num pixel"],
    pictures: Float[Array, "rendering pixel"],
    alpha: Float[Array, " num"],
    sigma: Float[Array, " num"],
) -> Float[Array, "num rendering"]:
    """Log likelihood of each picture (1 for white) less that of a blank, for x_t = alpha x_0 + sigma epsilon.

    As every pixel of x_0 is -1 or 1, |x_0|^2 is the same for all pictures: the ratio is 2 (alpha / sigma^2) times the
    sum of x_t over the picture's white pixels. sigma below :data:`LEAST_SIGMA` counts as that.

    >>> evidence(jnp.ones((1, 2)), jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.ones(1), jnp.ones(1))
    Array([[2., 4.]], dtype=float32)
    """
    strength = alpha / jnp.square(jnp.maximum(sigma, LEAST_SIGMA))
    return 2.0 * strength[:, None] * jnp.matmul(x_t, pictures.T, precision="highest")
