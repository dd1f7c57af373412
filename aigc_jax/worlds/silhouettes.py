"""Black and white shapes on small squares, each pixel in or out by an exact rule, and all their places in a frame."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from aigc_jax.types import UsageError

_EDGE = 1e-9
"""Pixels on an edge are in, whatever the last bit of a sine."""


def silhouette(shape: str, size: int) -> Bool[np.ndarray, "size size"]:
    """The pixels whose centre lies in a shape that fills a square of ``size`` >= 3 pixels a side.

    >>> print(silhouette("triangle", 3).astype(int))
    [[0 1 0]
     [0 1 0]
     [1 1 1]]
    """
    if shape not in SHAPES:
        raise UsageError(f"expected shapes among {', '.join(SHAPES)}; got {shape!r}")
    y, x = np.mgrid[:size, :size] + 0.5
    return SHAPES[shape](y / size, x / size)


def placed(
    pattern: Bool[np.ndarray, "height width"], frame: tuple[int, int]
) -> Bool[np.ndarray, "place frame_height frame_width"]:
    """A pattern at every place in a frame (height, width), row by row."""
    height, width = pattern.shape
    num_down, num_right = frame[0] - height + 1, frame[1] - width + 1
    if num_down < 1 or num_right < 1:
        raise UsageError(f"expected patterns of at most {frame[0]} x {frame[1]} pixels, got {height} x {width}")
    pictures = np.zeros((num_down, num_right, *frame), bool)
    for down in range(num_down):
        for right in range(num_right):
            pictures[down, right, down : down + height, right : right + width] = pattern
    return pictures.reshape(-1, *frame)


_Rule = Callable[[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]], Bool[np.ndarray, "y x"]]
"""From the centres of pixels, y downwards and x to the right, both from 0 to 1, to those inside."""


def _triangle(y: Float[np.ndarray, "y x"], x: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return np.abs(x - 0.5) <= 0.5 * y + _EDGE


def _square(y: Float[np.ndarray, "y x"], x: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return np.ones_like(y, bool)


def _pentagon(y: Float[np.ndarray, "y x"], x: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Regular, one corner up, in the circle of the square."""
    outward = math.pi / 2 + 2.0 * math.pi * np.arange(5) / 5
    # Each side lies cos(36 degrees) of the radius from the centre, in the direction opposite to a corner.
    reach = [(x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) for angle in outward]
    return np.max(reach, axis=0) <= 0.5 * math.cos(math.pi / 5) + _EDGE


def _disc(y: Float[np.ndarray, "y x"], x: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return np.square(x - 0.5) + np.square(y - 0.5) <= 0.25 + _EDGE


def _cross(y: Float[np.ndarray, "y x"], x: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Upright, its arms a third of the square wide."""
    return np.minimum(np.abs(x - 0.5), np.abs(y - 0.5)) <= 1.0 / 6.0 + _EDGE


SHAPES: dict[str, _Rule] = {
    "triangle": _triangle,
    "square": _square,
    "pentagon": _pentagon,
    "disc": _disc,
    "cross": _cross,
}
"""Shapes by name."""
