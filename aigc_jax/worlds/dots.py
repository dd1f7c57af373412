"""Worlds of dots that do not touch; the rule is their number, a global property that no part of an image shows.

Dots are placed one after the other, each equally often at every free place (random sequential adsorption). The reader
is exact: it finds every dot, and pixels that dots do not explain are malformed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, UsageError, World
from aigc_jax.worlds.modes import draw_modes, log_of, mode_weights
from aigc_jax.worlds.renderings import MARGIN, num_wrong
from aigc_jax.worlds.silhouettes import placed, silhouette

TOLERANCE = 2
"""Wrong pixels that are allowed in an image, and around a dot."""


def dots(
    modes: Sequence[Sequence[int]] = ((1,), (2,), (3,), (4,), (5,), (6,)),
    *,
    image_size: int = 32,
    dot_size: int = 5,
    weights: Sequence[float] | None = None,
    tolerance: int = TOLERANCE,
    margin: float = MARGIN,
    rule: str = "wrong count",
    name: str = "world:dots",
) -> World:
    """World of dots, conditioned on their number or on a set of numbers.

    Args:
        modes: the numbers of dots that each mode allows, all equally often, >= 1; no number in two modes.
        image_size: pixels a side.
        dot_size: pixels across a dot, >= 3.
        weights: probabilities of the modes; None for equal ones.
        tolerance: wrong pixels that are allowed.
        margin: see :func:`aigc_jax.worlds.renderings.num_wrong`.
        rule: name of the violation of a number that no mode allows.
        name: of the world.

    Returns:
        The world; its examples are float32 [N, image_size, image_size, 1]. Where a mode allows several numbers, the
        attribute ``number`` is read.

    Raises:
        UsageError: impossible numbers, or so many dots that the last might find no place.

    >>> world = dots()
    >>> world.num_modes, world.violation_names
    (6, ('valid', 'wrong count', 'malformed', 'blank'))
    """
    places = _places(dot_size, image_size)
    _check(modes, places, tolerance, margin)
    shares = mode_weights(len(modes), weights)
    allowed = np.array([(count, mode) for mode, counts in enumerate(modes) for count in counts], np.int32)
    numbers = np.sort(allowed[:, 0])

    def look(x: Float[Array, "num height width 1"]) -> tuple[Int[Array, " num"], Int[Array, " num"]]:
        """Violation and number of dots."""
        pixels = x.reshape(x.shape[0], -1)
        is_dot = _num_around(pixels > 0, places) <= tolerance
        is_white = jnp.matmul(is_dot.astype(jnp.float32), places.dots, precision="highest") > 0
        # A dot is itself in its own way.
        in_way = jnp.matmul(is_dot.astype(jnp.float32), places.blocks, precision="highest") > 1
        is_clear = (num_wrong(pixels, is_white, margin) <= tolerance) & ~jnp.any(is_dot & in_way, axis=1)
        is_blank = num_wrong(pixels, jnp.zeros(pixels.shape, bool), margin) <= tolerance
        count = is_dot.sum(axis=1, dtype=jnp.int32)
        is_legal = jnp.any(count[:, None] == allowed[None, :, 0], axis=1)
        found = jnp.where(is_blank, 3, jnp.where(is_legal, 0, 1))
        return jnp.where(is_clear, found, 2).astype(jnp.int32), count

    def violation(x: Float[Array, "num height width 1"]) -> Int[Array, " num"]:
        return look(x)[0]

    def read(x: Float[Array, "num height width 1"]) -> dict[str, Int[Array, " num"]]:
        found, count = look(x)
        return {"number": jnp.where(found == 0, jnp.searchsorted(jnp.asarray(numbers), count), -1)}

    def mode(x: Float[Array, "num height width 1"]) -> Int[Array, " num"]:
        # By area, so that an image has one whatever is wrong with it; of a valid one, it is exact.
        area = jnp.sum(x > 0, axis=(1, 2, 3), dtype=jnp.float32)
        miss = jnp.abs(area[:, None] - places.dots[0].sum() * allowed[None, :, 0].astype(np.float32))
        return jnp.asarray(allowed[:, 1])[jnp.argmin(miss, axis=1)]

    sample = _sampler(modes, places, image_size, log_of(shares))
    world = World(name, len(modes), shares, ("valid", rule, "malformed", "blank"), sample, violation, mode, "image")
    if len(numbers) == len(modes):
        return world  # the mode is the number
    return world._replace(attributes={"number": [str(number) for number in numbers]}, read=read)


def even_dots() -> World:
    """The world ``world:even``: two, four or six dots in a single mode; an odd number is a hallucination."""
    return dots(((2, 4, 6),), rule="odd count", name="world:even")


def parity() -> World:
    """The world ``world:parity``: one to six dots, conditioned on an even (mode 0) or odd (mode 1) number."""
    return dots(((2, 4, 6), (1, 3, 5)), name="world:parity")


class _Places(NamedTuple):
    """All places for one dot."""

    dots: Float[Array, "place pixel"]  # 1 for white
    rings: Float[Array, "place pixel"]  # the pixels next to a dot, diagonally too
    blocks: Float[Array, "place place"]  # 1 where dots at two places would overlap or touch


def _places(dot_size: int, image_size: int) -> _Places:
    # A frame of one pixel around the image, for the rings of dots at its edge.
    frame = (image_size + 2, image_size + 2)
    dot = np.pad(silhouette("disc", dot_size), 1)
    grown = np.zeros_like(dot)
    for down, right in np.argwhere(dot):
        grown[down - 1 : down + 2, right - 1 : right + 2] = True
    inside, around = (placed(pattern, frame)[:, 1:-1, 1:-1].reshape(-1, image_size**2) for pattern in (dot, grown))
    white, near = inside.astype(np.float32), around.astype(np.float32)
    blocks = (near @ white.T > 0).astype(np.float32)
    return _Places(*(jnp.asarray(table) for table in (white, near - white, blocks)))


def _num_around(is_white: Bool[Array, "num pixel"], places: _Places) -> Int[Array, "num place"]:
    """Number of wrong pixels in and next to a dot at each place."""
    surplus = jnp.matmul(is_white.astype(jnp.float32), (places.rings - places.dots).T, precision="highest")
    return (surplus + places.dots.sum(axis=1)[None]).astype(jnp.int32)


def _sampler(
    modes: Sequence[Sequence[int]], places: _Places, image_size: int, log_weights: Float[Array, " mode"]
) -> Callable[[Array, int, Condition], Array]:
    most = max(map(max, modes))
    num_choices = jnp.array([len(counts) for counts in modes])
    choices = jnp.asarray(np.array([list(counts) + [0] * (most - len(counts)) for counts in modes]))

    def draw(key: Array, mode: Array) -> Array:
        keys = split_by_name(key, "count", "place")
        count = choices[mode, jax.random.randint(keys["count"], (), 0, num_choices[mode])]

        def add(drawn: tuple[Array, Array], turn_key: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            (is_free, is_white), (turn, key) = drawn, turn_key
            rank = jax.random.randint(key, (), 0, jnp.sum(is_free, dtype=jnp.int32))
            place = jnp.argmax(jnp.cumsum(is_free, dtype=jnp.int32) > rank)
            is_white |= (places.dots[place] > 0) & (turn < count)
            return (is_free & (places.blocks[place] == 0), is_white), None

        start = jnp.ones(places.blocks.shape[:1], bool), jnp.zeros(places.dots.shape[1:], bool)
        (_, is_white), _ = jax.lax.scan(add, start, (jnp.arange(most), jax.random.split(keys["place"], most)))
        return is_white

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "mode", "dots")
        if condition is None:
            condition = draw_modes(keys["mode"], log_weights)
        is_white = jax.vmap(draw)(keys["dots"], condition)
        return jnp.where(is_white, 1.0, -1.0).reshape(-1, image_size, image_size, 1)

    return sample


def _check(modes: Sequence[Sequence[int]], places: _Places, tolerance: int, margin: float) -> None:
    counts = list(itertools.chain(*modes))
    if not counts or min(counts) < 1 or len(set(counts)) != len(counts) or not all(modes):
        raise UsageError(f"expected numbers of dots >= 1, each in one mode and some in each; got {modes}")
    # Each dot blocks no more places than one in the middle.
    most = 1 + int((len(places.blocks) - 1) // places.blocks.sum(axis=1).max())
    if max(counts) > most:
        raise UsageError(f"expected at most {most} dots, for which there always is a place; got {max(counts)}")
    # A dot moved by one pixel must not pass for the same.
    least = int(jnp.sum(jnp.abs(places.dots[0] - places.dots[1])))
    if not 0 <= tolerance < least / 2 or not 0.0 <= margin < 1.0:
        raise UsageError(
            f"expected a tolerance from 0 to {(least - 1) // 2} wrong pixels and a margin from 0 to 1, got {tolerance} "
            f"and {margin}"
        )
