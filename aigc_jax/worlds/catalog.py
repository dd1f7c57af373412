"""Worlds (synthetic data sets with an exact oracle) by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from aigc_jax.types import UsageError, World
from aigc_jax.worlds.dots import dots, even_dots, parity
from aigc_jax.worlds.factors import factors
from aigc_jax.worlds.facts import facts
from aigc_jax.worlds.families import families
from aigc_jax.worlds.grammar import grammar
from aigc_jax.worlds.mixture import UNEQUAL_WEIGHTS, aithal_grid, cross, grid, line, ring
from aigc_jax.worlds.puzzles import digit_sums, sudoku
from aigc_jax.worlds.reviews import reviews
from aigc_jax.worlds.shapes import shapes

WORLDS: dict[str, Callable[[], World]] = {
    "ring8": ring,
    "grid25": grid,
    "aithal25": aithal_grid,
    "unequal8": functools.partial(ring, weights=UNEQUAL_WEIGHTS, name="unequal"),
    "rotated8": functools.partial(ring, scale=(0.15, 0.03), name="rotated"),
    "line3": line,
    "line4": functools.partial(line, (1.0, 2.0, 4.0, 5.0)),
    "mixture16": cross,
    "shapes": shapes,
    "dots": dots,
    "even": even_dots,
    "parity": parity,
    "sums": digit_sums,
    "sudoku": sudoku,
    "factors": factors,
    "reviews": reviews,
    "facts": facts,
    "families": families,
    "grammar": grammar,
}
"""``{name: constructor}``: worlds of points first, then of images, then of text."""

FACTS = {
    "ring8": (8, "point", (2,), "Gaussians on a ring"),
    "grid25": (25, "point", (2,), "Gaussians on a grid"),
    "aithal25": (25, "point", (2,), "Gaussians on a grid, far apart"),
    "unequal8": (8, "point", (2,), "Gaussians on a ring, of unequal weights"),
    "rotated8": (8, "point", (2,), "Gaussians on a ring, longer than wide"),
    "line3": (3, "point", (1,), "Gaussians at 1, 2, 3"),
    "line4": (4, "point", (1,), "Gaussians at 1, 2, 4, 5"),
    "mixture16": (10, "point", (16,), "Gaussians at the ends of oblique axes"),
    "shapes": (7, "image", (64, 64, 1), "triangle, square, pentagon, each in its column"),
    "dots": (6, "image", (32, 32, 1), "1 to 6 dots"),
    "even": (1, "image", (32, 32, 1), "2, 4 or 6 dots"),
    "parity": (2, "image", (32, 32, 1), "an even or an odd number of dots"),
    "sums": (19, "image", (28, 28, 1), "two pairs of digits of the same sum"),
    "sudoku": (24, "image", (32, 32, 1), "four by four grids"),
    "factors": (72, "image", (32, 32, 3), "shape, size, colour, place"),
    "reviews": (2, "tokens", (97,), "reviews of two sentiments"),
    "facts": (4, "tokens", (6,), "statements about people"),
    "families": (5, "tokens", (6,), "statements about relatives"),
    "grammar": (3, "tokens", (33,), "brackets, sums and JSON"),
}
"""``{name: (modes, modality, shape, description)}``: a list of worlds need not build them, which takes seconds."""


def open_world(name: str) -> World:
    """The world ``world:NAME``, one of :data:`WORLDS`.

    >>> open_world("world:ring8").num_modes
    8
    """
    kind, _, rest = name.partition(":")
    if kind != "world" or rest not in WORLDS:
        known = ", ".join(f"world:{name}" for name in WORLDS)
        raise UsageError(f"expected data of a world, {known}; got {name!r}: pass --data world:ring8")
    return WORLDS[rest]()
