"""Digits under rules: planted violations, legal combinations, exact denoiser."""

import itertools

import jax
import numpy as np
import pytest

from aigc_jax.rules.formula import formula, is_true
from aigc_jax.types import UsageError
from aigc_jax.worlds.glyphs import digit_glyph
from aigc_jax.worlds.puzzles import digit_sums, sudoku
from tests.worlds.enumeration import mean_of
from tests.worlds.opened import fast_jit, opened

GRID = [[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]]


def draw(numbers, cell, scale, places=None):
    """An image of a square of numbers, None for an empty cell; each glyph at its place in its cell."""
    side = len(numbers)
    image = np.full((side * cell, side * cell, 1), -1.0)
    for row, column in itertools.product(range(side), repeat=2):
        if numbers[row][column] is not None:
            glyph = digit_glyph(numbers[row][column], scale)
            down, right = places[row][column] if places else (1, 1)
            top, left = row * cell + down, column * cell + right
            image[top : top + 6 * scale, left : left + 6 * scale, 0][glyph] = 1.0
    return image


def sums(upper, lower, **places):
    return draw([upper, lower], 14, 2, **places)


def grid(*changes):
    numbers = [list(row) for row in GRID]
    for row, column, number in changes:
        numbers[row][column] = number
    return draw(numbers, 8, 1)


def erased(image, rows, columns):
    image = image.copy()
    image[rows, columns] = -1.0
    return image


def test_digit_sums_violation_names_planted_faults():
    planted = {
        "7 + 8 = 6 + 9": (sums([7, 8], [6, 9]), "valid"),
        "0 + 0 = 0 + 0": (sums([0, 0], [0, 0]), "valid"),
        "in corners": (sums([7, 8], [6, 9], places=[[(0, 0), (0, 2)], [(2, 0), (2, 2)]]), "valid"),
        "7 + 8 and 6 + 8": (sums([7, 8], [6, 8]), "wrong sum"),
        "3 + 3 and 9 + 0": (sums([3, 3], [9, 0]), "wrong sum"),
        "across": (sums([3, 4], [4, 4]), "wrong sum"),
        "an empty cell": (sums([7, 8], [6, None]), "malformed"),
        "half a glyph": (erased(sums([7, 8], [6, 9]), slice(0, 7), slice(0, 14)), "malformed"),
        "upside down": (sums([7, 4], [2, 9])[::-1], "malformed"),
        "smaller glyphs": (np.pad(sums([7, 8], [6, 9])[::2, ::2], ((0, 14), (0, 14), (0, 0)), constant_values=-1.0),
                           "malformed"),
        "three wrong pixels": (erased(sums([7, 8], [6, 9]), 1, slice(1, 4)), "valid"),
        "four wrong pixels": (erased(sums([7, 8], [6, 9]), slice(1, 3), slice(1, 3)), "malformed"),
        "nothing": (np.full((28, 28, 1), -1.0), "blank"),
    }  # fmt: skip
    found = opened("sums").names([image for image, _ in planted.values()])
    assert dict(zip(planted, found, strict=True)) == {name: expected for name, (_, expected) in planted.items()}


def test_digit_sums_legal_codes_and_modes_are_exact():
    random = np.random.default_rng(0).integers(0, 10, (380, 4))
    chosen = np.concatenate([random, [[d, 0, 0, d] for d in range(10)], [[9, d, d, 9] for d in range(10)]])
    names, modes = opened("sums").judged(np.stack([sums(four[:2], four[2:]) for four in chosen.tolist()]))
    is_legal = chosen[:, :2].sum(axis=1) == chosen[:, 2:].sum(axis=1)
    assert names == ["valid" if legal else "wrong sum" for legal in is_legal]
    assert np.asarray(modes)[is_legal].tolist() == chosen[is_legal, :2].sum(axis=1).tolist()


def test_digit_sums_weights_follow_the_number_of_combinations():
    ways = np.bincount([a + b for a, b in itertools.product(range(10), repeat=2)]) ** 2
    assert ways.sum() == 670
    np.testing.assert_allclose(opened("sums").world.mode_weights, ways / 670)


@pytest.mark.slow
def test_sudoku_violation_names_planted_faults():
    in_rows = [[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3]]  # right in rows and columns, wrong in blocks
    planted = {
        "legal": (grid(), "valid"),
        "one wrong": (grid((0, 0, 2)), "rule broken"),
        "two of a row changed": (grid((0, 0, 2), (0, 1, 1)), "rule broken"),
        "blocks alone broken": (draw(in_rows, 8, 1), "rule broken"),
        "columns and blocks broken": (draw([[1, 2, 3, 4]] * 4, 8, 1), "rule broken"),
        "all ones": (draw([[1] * 4] * 4, 8, 1), "rule broken"),
        "a five": (grid((0, 0, 5)), "malformed"),
        "an empty cell": (grid((3, 3, None)), "malformed"),
        "half a glyph": (erased(grid(), slice(0, 8), slice(0, 4)), "malformed"),
        "nothing": (np.full((32, 32, 1), -1.0), "blank"),
    }
    found = opened("sudoku").names([image for image, _ in planted.values()])
    assert dict(zip(planted, found, strict=True)) == {name: expected for name, (_, expected) in planted.items()}


def test_sudoku_has_288_grids_twelve_for_each_first_row():
    rows = list(itertools.permutations((1, 2, 3, 4)))
    legal = [
        four
        for four in itertools.product(rows, repeat=4)
        if all(len({row[c] for row in four}) == 4 for c in range(4))
        and all(len({*four[r][c : c + 2], *four[r + 1][c : c + 2]}) == 4 for r in (0, 2) for c in (0, 2))
    ]
    assert len(legal) == 288
    names, modes = opened("sudoku").judged(np.stack([draw(four, 8, 1) for four in legal]))
    assert set(names) == {"valid"}
    assert modes == [rows.index(four[0]) for four in legal]
    assert np.bincount(modes).tolist() == [12] * 24
    drawn = np.asarray(opened("sudoku").examples()[0])
    assert len(np.unique(drawn.reshape(len(drawn), -1), axis=0)) == len(drawn)


SMALL = digit_sums((0, 1), cell_size=7, scale=1, weights=(0.5, 0.25, 0.25))


def small_images():
    images, shares, modes = [], [], []
    codes = {0: [(0, 0, 0, 0)], 1: [(0, 1, 0, 1), (0, 1, 1, 0), (1, 0, 0, 1), (1, 0, 1, 0)], 2: [(1, 1, 1, 1)]}
    places = list(itertools.product((0, 1), repeat=2))
    for mode, weight in enumerate((0.5, 0.25, 0.25)):
        for a, b, c, d in codes[mode]:
            for first, second, third, fourth in itertools.product(places, repeat=4):
                images.append(draw([[a, b], [c, d]], 7, 1, [[first, second], [third, fourth]]))
                shares.append(weight / len(codes[mode]) / 256)
                modes.append(mode)
    return np.stack(images), np.array(shares), np.array(modes)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.8, 0.6), (0.3, 0.95), (0.0, 1.0)])
def test_digit_sums_denoiser_matches_enumeration(alpha, sigma):
    images, shares, modes = small_images()
    assert shares.sum() == pytest.approx(1.0)
    mean_of(SMALL, images, shares, modes, levels=(alpha, sigma))


@pytest.mark.slow
def test_puzzles_refuse_impossible_settings():
    with pytest.raises(UsageError, match="tolerance from 0 to 5"):
        digit_sums(tolerance=6)
    with pytest.raises(UsageError, match="tolerance from 0 to 4"):
        sudoku(tolerance=5)
    with pytest.raises(UsageError, match="at most 10 x 10"):
        digit_sums(cell_size=10)
    with pytest.raises(UsageError, match="24 weights"):
        sudoku(weights=(0.5, 0.5))


@pytest.mark.slow
def test_cells_are_read_one_by_one():
    world = opened("sums").world
    blot = sums([7, 8], [6, 9])
    blot[2:12, 2:12] = 1.0
    images = np.stack([sums([7, 8], [6, 8]), blot]).astype(np.float32)
    found = {name: np.asarray(values).tolist() for name, values in fast_jit(world.parts.read)(images).items()}
    assert found == {"top_left": [7, -1], "top_right": [8, 8], "bottom_left": [6, 6], "bottom_right": [8, 9]}
    assert world.parts.attributes["top_left"] == tuple("0123456789")
    assert world.parts.groups["top"] == ("top_left", "top_right")
    assert world.parts.groups["right"] == ("top_right", "bottom_right")
    obeys = formula("sum(top) == sum(bottom)", world.parts.attributes, world.parts.groups)
    assert is_true(obeys, found).tolist() == [False, False]
    own = world.sample(jax.random.key(0), 20, None)
    assert is_true(obeys, fast_jit(world.parts.read)(own)).all()


def test_rows_columns_and_blocks_of_sudoku_are_groups():
    world = opened("sudoku").world
    assert world.readings is world.parts
    assert world.parts.groups["row2"] == ("c21", "c22", "c23", "c24")
    assert world.parts.groups["column2"] == ("c12", "c22", "c32", "c42")
    assert world.parts.groups["block3"] == ("c31", "c32", "c41", "c42")
    found = fast_jit(world.parts.read)(np.stack([grid(), grid((0, 0, 2))]).astype(np.float32))
    rule = formula("all_different(row1) and all_different(block4)", world.parts.attributes, world.parts.groups)
    assert is_true(rule, found).tolist() == [True, False]


def test_puzzles_read_the_combination_that_the_mode_leaves_free():
    for name, attribute, images, expected in (
        ("sums", "digits", [sums([7, 8], [6, 9]), sums([7, 8], [6, 8])], ["7 + 8 = 6 + 9", None]),
        ("sudoku", "grid", [grid(), grid((0, 0, 2))], ["1234 3412 2143 4321", None]),
    ):
        world = opened(name).world
        values = world.attributes[attribute]
        found = np.asarray(fast_jit(world.read)(np.stack(images).astype(np.float32))[attribute])
        assert [values[each] if each >= 0 else None for each in found] == expected
        assert world.mode_attributes == {}
