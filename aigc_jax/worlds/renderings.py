"""Which legal picture is nearest: exact, by the number of pixels that differ, over the list of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.types import UsageError

MARGIN = 0.5
"""A pixel in [-1, 1] is white from here and black to minus here; between, it is nearer to grey, and wrong anywhere."""

LEAST_SIGMA = 1e-3
"""With so little noise, one picture alone can have been; with less, float32 would overflow."""


class Renderings(NamedTuple):
    """Every legal picture of one frame, white on black.

    Attributes:
        pictures: white pixels [R, P], the frame's P pixels in one row.
        kinds: what each is a picture of, 0 ... K-1 [R].
    """

    pictures: Bool[np.ndarray, "rendering pixel"]
    kinds: Int[np.ndarray, " rendering"]


def all_renderings(pictures: Sequence[np.ndarray]) -> Renderings:
    """The pictures of several kinds in one list.

    Args:
        pictures: of each kind, those of all places and sizes, bool [L, height, width].

    Returns:
        The list.

    >>> all_renderings([np.ones((2, 1, 3), bool), np.zeros((1, 1, 3), bool)]).kinds.tolist()
    [0, 0, 1]
    """
    kinds = np.repeat(np.arange(len(pictures), dtype=np.int32), [len(of_kind) for of_kind in pictures])
    return Renderings(np.concatenate([of_kind.reshape(len(of_kind), -1) for of_kind in pictures]), kinds)


def num_different(
    is_white: Bool[Array, "num pixel"], pictures: Float[Array, "rendering pixel"]
) -> Int[Array, "num rendering"]:
    """In how many pixels each image differs from each picture (the Hamming distance).

    Args:
        is_white: the images.
        pictures: 1 for white, 0 for black.

    Returns:
        Numbers of pixels, exact.

    >>> num_different(jnp.array([[True, False, True]]), jnp.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    Array([[1, 2]], dtype=int32)
    """
    # Whole numbers far below 2^24 are exact in float32, whose products are by far the fastest.
    white = is_white.astype(jnp.float32)
    common = jnp.matmul(white, pictures.T, precision="highest")
    return (white.sum(axis=1)[:, None] + pictures.sum(axis=1)[None] - 2.0 * common).astype(jnp.int32)


def num_wrong(
    x: Float[Array, "num pixel"], picture: Bool[Array, "num pixel"], margin: float = MARGIN
) -> Int[Array, " num"]:
    """How many pixels of each image are not what they are in its picture: wrong, grey, or NaN.

    Args:
        x: images in [-1, 1].
        picture: where each should be white; black elsewhere.
        margin: from 0 to 1; a pixel at least so far on its own side of 0 is right.

    Returns:
        Numbers of pixels.

    >>> num_wrong(jnp.array([[0.9, 0.1, -0.9, 0.9]]), jnp.array([[True, True, False, False]]))
    Array([2], dtype=int32)
    """
    # NaN compares as False.
    is_right = jnp.where(picture, x, -x) >= margin
    return jnp.sum(~is_right, axis=1, dtype=jnp.int32)


def separation(renderings: Renderings) -> int:
    """The fewest pixels in which pictures of different kinds differ, from each other or from a blank.

    An image that is nearer than half of it to a picture of one kind is further from those of every other.

    >>> separation(all_renderings([np.ones((1, 1, 3), bool), np.eye(3, dtype=bool)[:2, None]]))
    1
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
    """Refuse a tolerance with which one image could pass for two kinds.

    Args:
        renderings: what is legal.
        tolerance: how many wrong pixels a legal picture may have.
        margin: see :func:`num_wrong`.

    Raises:
        UsageError: twice the tolerance is not less than the pictures' :func:`separation`, or no such margin can be.

    >>> check_tolerance(all_renderings([np.ones((1, 1, 3), bool)]), 1, 0.5)
    """
    if not 0.0 <= margin < 1.0:
        raise UsageError(f"expected a margin from 0 to 1 of what is black or white, got {margin}")
    apart = separation(renderings)
    if tolerance < 0 or 2 * tolerance >= apart:
        raise UsageError(
            f"expected a tolerance from 0 to {(apart - 1) // 2} wrong pixels, as pictures of different kinds differ in "
            f"{apart} or more; got {tolerance}"
        )


def evidence(
    x_t: Float[Array, "num pixel"],
    pictures: Float[Array, "rendering pixel"],
    alpha: Float[Array, " num"],
    sigma: Float[Array, " num"],
) -> Float[Array, "num rendering"]:
    """The log likelihood of each picture less that of a blank, for x_t = alpha x_0 + sigma epsilon.

    As every pixel of x_0 is -1 or 1, |x_0|^2 is the same for all pictures, and what is left is
    2 (alpha / sigma^2) sum of x_t over the picture's white pixels.

    Args:
        x_t: noisy images.
        pictures: 1 for white, 0 for black.
        alpha: of each image, >= 0.
        sigma: of each image, >= 0; less than :data:`LEAST_SIGMA` counts as that.

    Returns:
        Log likelihood ratios.

    >>> evidence(jnp.ones((1, 2)), jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.ones(1), jnp.ones(1))
    Array([[2., 4.]], dtype=float32)
    """
    strength = alpha / jnp.square(jnp.maximum(sigma, LEAST_SIGMA))
    return 2.0 * strength[:, None] * jnp.matmul(x_t, pictures.T, precision="highest")
