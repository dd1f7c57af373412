"""Worlds of dots: names of planted violations, numbers and placement."""

import jax
import numpy as np
import pytest

from aigc_jax.types import UsageError
from aigc_jax.worlds.dots import dots
from aigc_jax.worlds.silhouettes import silhouette
from tests.worlds.opened import fast_jit, opened

DOT = silhouette("disc", 5)


def draw(*places):
    """Dots by the row and column of their upper left corners."""
    image = np.full((32, 32, 1), -1.0)
    for row, column in places:
        image[row : row + 5, column : column + 5, 0][DOT] = 1.0
    return image


APART = [(0, 0), (0, 27), (27, 0), (27, 27), (13, 13), (13, 0), (0, 13), (13, 27)]


def without(image, row, columns):
    image = image.copy()
    image[row, columns] = -1.0
    return image


def lit(image, row, columns):
    image = image.copy()
    image[row, columns] = 1.0
    return image


PLANTED = {
    "one": (draw(*APART[:1]), "valid"),
    "six": (draw(*APART[:6]), "valid"),
    "seven": (draw(*APART[:7]), "wrong count"),
    "eight": (draw(*APART), "wrong count"),
    "side by side": (draw((5, 5), (5, 10)), "malformed"),
    "overlapping": (draw((5, 5), (5, 8)), "malformed"),
    "corner to corner": (draw((5, 5), (8, 10)), "malformed"),
    "a pixel between": (draw((5, 5), (5, 11)), "valid"),
    "diagonal, a pixel between": (draw((5, 5), (9, 10)), "valid"),
    "half a dot": (draw((5, 5)) - 2.0 * (draw((5, 5)) > 0) * (np.arange(32)[:, None, None] < 7), "malformed"),
    "half a dot and a whole one": (
        draw((5, 5), (20, 20)) - 2.0 * (draw((5, 5)) > 0) * (np.arange(32)[:, None, None] < 7),
        "malformed",
    ),
    "a square": (lit(lit(draw((5, 5)), 5, [5, 9]), 9, [5, 9]), "malformed"),
    "a larger dot": (np.where(np.pad(silhouette("disc", 7), ((5, 20), (5, 20)))[..., None], 1.0, -1.0), "malformed"),
    "a dot across the edge": (np.roll(draw((5, 0)), -2, axis=1), "malformed"),
    "a line": (lit(draw(), 7, slice(None)), "malformed"),
    "two stray pixels": (lit(draw((5, 5)), 20, [3, 7]), "valid"),
    "three stray pixels": (lit(draw((5, 5)), 20, [3, 7, 11]), "malformed"),
    "two missing pixels": (without(draw((5, 5)), 7, [6, 8]), "valid"),
    "nothing": (draw(), "blank"),
}


@pytest.mark.slow
def test_dots_violation_names_planted_faults():
    found = opened("dots").names([image for image, _ in PLANTED.values()])
    assert dict(zip(PLANTED, found, strict=True)) == {name: expected for name, (_, expected) in PLANTED.items()}


def test_dots_mode_is_the_number():
    images = np.stack([draw(*APART[:num]) for num in range(1, 9)])
    assert opened("dots").judged(images)[1] == [0, 1, 2, 3, 4, 5, 5, 5]
    assert opened("parity").judged(images[:6]) == (["valid"] * 6, [1, 0, 1, 0, 1, 0])


@pytest.mark.slow
def test_even_dots_violation_catches_an_odd_number():
    images = np.stack([draw(*APART[:num]) for num in range(1, 9)])
    odd, valid = "odd count", "valid"
    assert opened("even").names(images) == [odd, valid, odd, valid, odd, valid, odd, odd]


def test_dots_places_are_free_and_equally_likely():
    images = np.asarray(opened("dots").examples()[1])
    single = images[opened("dots").conditions() == 0]
    rows = np.argmax(single.max(axis=(2, 3)) > 0, axis=1)
    assert (rows.min(), rows.max()) == (0, 27) or np.ptp(rows) > 22
    assert abs(rows.mean() - 13.5) < 4 * np.sqrt((28**2 - 1) / 12 / len(rows))


def test_dots_refuses_impossible_numbers():
    for modes in ((), ((),), ((0,),), ((1,), (1, 2))):
        with pytest.raises(UsageError, match="numbers of dots >= 1"):
            dots(modes)
    with pytest.raises(UsageError, match="at most 8 dots"):
        dots(((40,),))
    with pytest.raises(UsageError, match="tolerance from 0 to 4"):
        dots(tolerance=5)


def test_dots_modes_may_have_unequal_weights():
    world = dots(((1, 2), (3,)), weights=(0.9, 0.1), image_size=24)
    images = fast_jit(lambda key: world.sample(key, 200, None))(jax.random.key(0))
    counts = np.sum(np.asarray(images) > 0, axis=(1, 2, 3)) // DOT.sum()
    assert set(counts) == {1, 2, 3}
    assert np.mean(counts == 3) < 0.2
    assert 0.3 < np.mean(counts == 1) < 0.6


@pytest.mark.slow
def test_dots_reads_the_number_that_the_mode_leaves_free():
    world = opened("parity").world
    read = fast_jit(world.read)
    images = np.stack([image for image, _ in PLANTED.values()])
    found = np.asarray(read(images.astype(np.float32))["number"])
    names, _ = opened("parity").judged(images)
    np.testing.assert_array_equal(found < 0, [name != "valid" for name in names])
    shown = dict(zip(PLANTED, found, strict=True))
    assert [world.attributes["number"][shown[name]] for name in ("one", "six", "a pixel between")] == ["1", "6", "2"]
    drawn = np.asarray(read(opened("parity").examples()[1])["number"])
    assert set(drawn[opened("parity").conditions() == 0]) == {1, 3, 5}  # places of 2, 4 and 6
    assert opened("even").world.attributes == {"number": ["2", "4", "6"]}
    assert (opened("dots").world.read, opened("dots").world.attributes) == (None, {})
