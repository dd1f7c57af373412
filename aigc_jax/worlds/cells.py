"""Worlds of equal cells with one glyph each, at any place in its cell: the listed combinations are legal.

No cell alone shows whether an image is legal. Both are decided exactly: a cell by its nearest legal picture, an image
by the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, Readings, UsageError, World
from aigc_jax.worlds.modes import draw_modes, log_of, mode_weights, posterior
from aigc_jax.worlds.renderings import MARGIN, all_renderings, check_tolerance, evidence, num_different, num_wrong
from aigc_jax.worlds.silhouettes import placed

TOLERANCE = 3
"""Wrong pixels in a cell that still count as its glyph; two digits differ in more than twice as many."""


class Codes(NamedTuple):
    """The legal combinations of glyphs."""

    glyphs: Int[np.ndarray, "code cell"]  # the glyph of each cell, row by row
    modes: Int[np.ndarray, " code"]
    attribute: str = ""  # name of what the modes leave free; "" where each mode has one combination
    names: Sequence[str] = ()
    glyph_names: Sequence[str] = ()  # that rules name, such as the digits; () for none


def cell_world(
    name: str,
    codes: Codes,
    glyphs: Sequence[Bool[np.ndarray, "height width"]],
    *,
    cell_size: int,
    rule: str,
    weights: Sequence[float] | None = None,
    tolerance: int = TOLERANCE,
    margin: float = MARGIN,
) -> World:
    """World of a square number of cells; its examples are float32 [N, S, S, 1], S = cells a side times ``cell_size``.

    ``rule`` is the name of the violation of an illegal combination of ``glyphs``, all of one size; ``weights`` are
    probabilities of the modes, None for every combination equally often; ``tolerance`` wrong pixels in a cell still
    count as a glyph (see :func:`aigc_jax.worlds.renderings.num_wrong` for ``margin``).

    >>> codes, glyphs = Codes(np.array([[0], [1]]), np.array([0, 1])), [np.ones((2, 2), bool), np.eye(2, dtype=bool)]
    >>> world = cell_world("two", codes, glyphs, cell_size=3, rule="forbidden", tolerance=0)
    >>> world.sample(jax.random.key(0), 1, jnp.array([1])).shape
    (1, 3, 3, 1)
    """
    sheet = _sheet(codes, glyphs, cell_size)
    check_tolerance(all_renderings(list(sheet.pictures)), tolerance, margin)
    counts = np.bincount(codes.modes)
    shares = mode_weights(len(counts), tuple(counts / counts.sum()) if weights is None else weights)

    def violation(x: Float[Array, "num height width 1"]) -> Int[Array, " num"]:
        cells = _split(x, sheet)
        nearest, different = _nearest(cells, sheet)
        wrong = num_wrong(cells, jnp.asarray(sheet.pictures.reshape(-1, cell_size**2))[nearest], margin)
        white = num_wrong(cells, jnp.zeros(cells.shape, bool), margin)
        is_clear, is_blank = (jnp.all(pixels.reshape(x.shape[0], -1) <= tolerance, axis=1) for pixels in (wrong, white))
        # The nearest legal combination is made of the nearest glyphs.
        least = different.min(axis=2).sum(axis=1).astype(jnp.float32)
        is_legal = _totals(different, sheet).min(axis=1) == least
        found = jnp.where(is_legal, 0, 1)
        return jnp.where(is_clear, found, jnp.where(is_blank, 3, 2)).astype(jnp.int32)

    def code(x: Float[Array, "num height width 1"]) -> Int[Array, " num"]:
        _, different = _nearest(_split(x, sheet), sheet)
        return jnp.argmin(_totals(different, sheet), axis=1).astype(jnp.int32)

    def mode(x: Float[Array, "num height width 1"]) -> Int[Array, " num"]:
        return jnp.asarray(codes.modes, jnp.int32)[code(x)]

    def read(x: Float[Array, "num height width 1"]) -> dict[str, Int[Array, " num"]]:
        return {codes.attribute: jnp.where(violation(x) == 0, code(x), -1)}

    def read_cells(x: Float[Array, "num height width 1"]) -> dict[str, Int[Array, " num"]]:
        cells = _split(x, sheet)
        nearest, _ = _nearest(cells, sheet)
        wrong = num_wrong(cells, jnp.asarray(sheet.pictures.reshape(-1, cell_size**2))[nearest], margin)
        found = jnp.where(wrong <= tolerance, nearest // sheet.pictures.shape[1], -1).astype(jnp.int32)
        return dict(zip(_cell_names(sheet.side), found.reshape(x.shape[0], -1).T, strict=True))

    of_cells = dict.fromkeys(_cell_names(sheet.side), tuple(codes.glyph_names))
    return World(
        name,
        len(counts),
        shares,
        ("valid", rule, "malformed", "blank"),
        sample=_sampler(sheet, codes, log_of(shares)),
        violation=violation,
        mode=mode,
        modality="image",
        denoise=_denoiser(sheet, codes, log_of(shares)),
        attributes={codes.attribute: codes.names} if codes.attribute else {},
        read=read if codes.attribute else None,
        parts=Readings(of_cells, read_cells, _groups(sheet.side)) if codes.glyph_names else None,
    )


def _cell_names(side: int) -> list[str]:
    """The cells row by row: by their places where there are two a side, else ``c12`` in row 1 and column 2."""
    if side == 2:
        return ["top_left", "top_right", "bottom_left", "bottom_right"]
    return [f"c{row}{column}" for row in range(1, side + 1) for column in range(1, side + 1)]


def _groups(side: int) -> dict[str, tuple[str, ...]]:
    """All cells, and those of each row, column and, of four by four cells and the like, block."""
    names = np.array(_cell_names(side)).reshape(side, side)
    found = {"cells": names.ravel()}
    if side == 2:
        found |= {"top": names[0], "bottom": names[1], "left": names[:, 0], "right": names[:, 1]}
    else:
        found |= {f"row{row + 1}": names[row] for row in range(side)}
        found |= {f"column{column + 1}": names[:, column] for column in range(side)}
        size = round(side**0.5)
        if size > 1 and size**2 == side:
            blocks = names.reshape(size, size, size, size).transpose(0, 2, 1, 3).reshape(side, side)
            found |= {f"block{block + 1}": blocks[block] for block in range(side)}
    return {name: tuple(map(str, cells)) for name, cells in found.items()}


class _Sheet(NamedTuple):
    """The cells of an image, and their possible contents."""

    side: int  # cells a side
    size: int  # pixels a side of a cell
    pictures: Bool[np.ndarray, "glyph place size size"]
    holds: Float[Array, "code cell_glyph"]  # 1 where glyph k is in cell c of a combination [M, C K]

    @property
    def rows(self) -> Float[Array, "rendering pixel"]:
        """The pictures in one list, 1 for white."""
        return jnp.asarray(self.pictures.reshape(-1, self.size**2), jnp.float32)


def _sheet(codes: Codes, glyphs: Sequence[Bool[np.ndarray, "height width"]], cell_size: int) -> _Sheet:
    num_codes, num_cells = codes.glyphs.shape
    side = round(num_cells**0.5)
    if side**2 != num_cells:
        raise UsageError(f"expected a square number of cells, got {num_cells}")
    holds = np.eye(len(glyphs), dtype=np.float32)[codes.glyphs].reshape(num_codes, -1)
    pictures = np.stack([placed(glyph, (cell_size, cell_size)) for glyph in glyphs])
    return _Sheet(side, cell_size, pictures, jnp.asarray(holds))


def _split(x: Array, sheet: _Sheet) -> Float[Array, "num_cell pixel"]:
    cells = x.reshape(-1, sheet.side, sheet.size, sheet.side, sheet.size).transpose(0, 1, 3, 2, 4)
    return cells.reshape(-1, sheet.size**2)


def _join(cells: Float[Array, "num_cell pixel"], sheet: _Sheet) -> Float[Array, "num height width 1"]:
    rows = cells.reshape(-1, sheet.side, sheet.side, sheet.size, sheet.size).transpose(0, 1, 3, 2, 4)
    return rows.reshape(-1, sheet.side * sheet.size, sheet.side * sheet.size, 1)


def _nearest(cells: Array, sheet: _Sheet) -> tuple[Int[Array, " num_cell"], Int[Array, "num cell glyph"]]:
    """The nearest picture of each cell, and the Hamming distance of each glyph at its best place."""
    different = num_different(cells > 0, sheet.rows)
    best = different.reshape(-1, sheet.side**2, *sheet.pictures.shape[:2]).min(axis=3)
    return jnp.argmin(different, axis=1), best


def _totals(by_glyph: Array, sheet: _Sheet) -> Float[Array, "num code"]:
    """Sums over the cells of each combination, of one number per cell and glyph."""
    rows = by_glyph.reshape(by_glyph.shape[0], -1).astype(jnp.float32)
    return jnp.matmul(rows, sheet.holds.T, precision="highest")


def _sampler(sheet: _Sheet, codes: Codes, log_weights: Float[Array, " mode"]) -> Callable[..., Array]:
    order = np.argsort(codes.modes, kind="stable")
    glyphs = jnp.asarray(codes.glyphs[order])
    starts = jnp.asarray(np.searchsorted(codes.modes[order], np.arange(log_weights.shape[0])))
    counts = jnp.asarray(np.bincount(codes.modes))
    num_places = sheet.pictures.shape[1]

    def draw(key: Array, mode: Array) -> Array:
        keys = split_by_name(key, "code", "place")
        chosen = glyphs[starts[mode] + jax.random.randint(keys["code"], (), 0, counts[mode])]
        return chosen * num_places + jax.random.randint(keys["place"], chosen.shape, 0, num_places)

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "mode", "cells")
        if condition is None:
            condition = draw_modes(keys["mode"], log_weights)
        drawn = jax.vmap(draw)(keys["cells"], condition)
        return _join(2.0 * sheet.rows[drawn.reshape(-1)] - 1.0, sheet)

    return sample


def _denoiser(sheet: _Sheet, codes: Codes, log_weights: Float[Array, " mode"]) -> Callable[..., Array]:
    """E[x_0 | x_t], over all legal images: given the combination, the places in all cells are independent."""
    of_code = log_weights[codes.modes] - jnp.log(jnp.asarray(np.bincount(codes.modes)[codes.modes], jnp.float32))
    num_cells, (num_glyphs, num_places) = sheet.side**2, sheet.pictures.shape[:2]

    def denoise(x_t: Array, alpha: Array, sigma: Array, condition: Condition) -> Array:
        cells = _split(x_t, sheet)
        logits = evidence(cells, sheet.rows, *(jnp.repeat(level, num_cells) for level in (alpha, sigma)))
        logits = logits.reshape(-1, num_cells, num_glyphs, num_places)
        by_code = _totals(jax.nn.logsumexp(logits, axis=3), sheet)
        shares = jnp.matmul(posterior(by_code, of_code, condition, codes.modes), sheet.holds, precision="highest")
        places = shares.reshape(-1, num_cells, num_glyphs, 1) * jax.nn.softmax(logits, axis=3)
        white = jnp.matmul(places.reshape(-1, num_glyphs * num_places), sheet.rows, precision="highest")
        return _join(2.0 * white - 1.0, sheet)

    return denoise
