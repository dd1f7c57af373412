"""Worlds of digits under a rule that no cell shows alone: equal sums, and Sudoku of four by four."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from aigc_jax.types import World
from aigc_jax.worlds.cells import TOLERANCE, Codes, cell_world
from aigc_jax.worlds.glyphs import digit_glyph
from aigc_jax.worlds.renderings import MARGIN


def digit_sums(
    digits: Sequence[int] = range(10),
    *,
    cell_size: int = 14,
    scale: int = 2,
    weights: Sequence[float] | None = None,
    tolerance: int = TOLERANCE,
    margin: float = MARGIN,
    name: str = "world:sums",
) -> World:
    """World of four digits, two above two: the upper two have the same sum as the lower two.

    Of four digits of 0 ... 9, 670 combinations of 10,000 are legal, and any two neighbours take all values: a model
    of neighbours alone cannot learn the rule (Lu et al. 2025). Each glyph is at any of nine places.

    Args:
        digits: those that occur.
        cell_size: pixels a side of a cell.
        scale: pixels a side for each of a glyph's six by six.
        weights: probabilities of the modes, the possible sums in order; None for every combination equally often.
        tolerance: wrong pixels in a cell that still count as a digit.
        margin: see :func:`aigc_jax.worlds.renderings.num_wrong`.
        name: of the world.

    Returns:
        The world; its examples are float32 [N, 28, 28, 1] by default.

    >>> world = digit_sums()
    >>> world.num_modes, world.violation_names
    (19, ('valid', 'wrong sum', 'malformed', 'blank'))
    """
    values = np.array(list(digits))
    chosen = np.array(list(itertools.product(range(len(values)), repeat=4)))
    upper, lower = values[chosen[:, :2]].sum(axis=1), values[chosen[:, 2:]].sum(axis=1)
    legal = chosen[upper == lower]
    _, modes = np.unique(upper[upper == lower], return_inverse=True)
    glyphs = [digit_glyph(digit, scale) for digit in digits]
    names = ["{} + {} = {} + {}".format(*row) for row in values[legal].tolist()]
    return cell_world(
        name,
        Codes(legal, modes, "digits", names, [str(digit) for digit in digits]),
        glyphs,
        cell_size=cell_size,
        rule="wrong sum",
        weights=weights,
        tolerance=tolerance,
        margin=margin,
    )


def sudoku(
    *,
    cell_size: int = 8,
    scale: int = 1,
    weights: Sequence[float] | None = None,
    tolerance: int = TOLERANCE,
    margin: float = MARGIN,
    name: str = "world:sudoku",
) -> World:
    """World of all 288 Sudoku grids of four by four: every row, column and block holds 1, 2, 3 and 4.

    The modes are the 24 possible first rows in lexicographic order: a condition is a puzzle with twelve solutions. Each
    glyph is at any of nine places in its cell.

    Args:
        cell_size: pixels a side of a cell.
        scale: pixels a side for each of a glyph's six by six.
        weights: probabilities of the modes; None for every grid equally often.
        tolerance: wrong pixels in a cell that still count as a digit.
        margin: see :func:`aigc_jax.worlds.renderings.num_wrong`.
        name: of the world.

    Returns:
        The world; its examples are float32 [N, 32, 32, 1] by default.

    >>> world = sudoku()
    >>> world.num_modes, world.violation_names
    (24, ('valid', 'rule broken', 'malformed', 'blank'))
    """
    rows = np.array(list(itertools.permutations(range(4))))
    candidates = rows[np.array(list(itertools.product(range(24), repeat=4)))]
    blocks = candidates.reshape(-1, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4)
    # Rows are permutations already; of four numbers, four are all different only in a permutation.
    is_legal = [
        np.all(np.sort(groups, axis=2) == np.arange(4), axis=(1, 2))
        for groups in (candidates.transpose(0, 2, 1), blocks)
    ]
    legal = candidates[is_legal[0] & is_legal[1]]
    modes = np.argmax(np.all(legal[:, :1] == rows[None], axis=2), axis=1)
    glyphs = [digit_glyph(digit, scale) for digit in (1, 2, 3, 4)]
    names = [" ".join("".join(map(str, row)) for row in grid) for grid in (legal + 1).tolist()]
    return cell_world(
        name,
        Codes(legal.reshape(-1, 16), modes, "grid", names, "1234"),
        glyphs,
        cell_size=cell_size,
        rule="rule broken",
        weights=weights,
        tolerance=tolerance,
        margin=margin,
    )
