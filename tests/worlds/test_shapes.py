"""Shapes in columns: planted violations, and the exact denoiser against enumeration."""

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.types import UsageError
from aigc_jax.worlds.columns import make_columns
from aigc_jax.worlds.renderings import all_renderings, separation
from aigc_jax.worlds.shapes import shapes
from aigc_jax.worlds.silhouettes import placed, silhouette
from tests.worlds.enumeration import mean_of
from tests.worlds.opened import fast_jit, opened

WORLD = opened("shapes")
START = {"triangle": 0, "square": 21, "pentagon": 42}
BLACK = np.full((64, 64, 1), -1.0)


def draw(*shapes, image=BLACK):
    """Shapes as (name, row, column, size): white where any is."""
    image = image.copy()
    for name, row, column, size in shapes:
        window = image[row : row + size, column : column + size, 0]
        window[silhouette(name, size)] = 1.0
    return image


def noise(num, rows=slice(None), columns=slice(None)):
    image, random = BLACK.copy(), np.random.default_rng(1)
    window = image[rows, columns, 0]
    window[np.unravel_index(random.permutation(window.size)[:num], window.shape)] = 1.0
    return image


TRIANGLE, SQUARE, PENTAGON = ("triangle", 5, 2, 17), ("square", 30, 23, 15), ("pentagon", 44, 43, 19)
HALF = draw(SQUARE) + 2.0 * (draw(TRIANGLE) > 0) * (np.arange(64)[:, None, None] < 13)
PLANTED = {
    # The six of handbook section 1.4, which the released validator lets pass.
    "two triangles": (draw(TRIANGLE, ("triangle", 30, 22, 15)), "wrong count"),
    "a triangle in the column of squares": (draw(("triangle", 5, 22, 17)), "wrong place"),
    "a square in the column of triangles": (draw(("square", 30, 1, 15)), "wrong place"),
    "a column of noise and a legal square": (np.maximum(noise(300, columns=slice(0, 21)), draw(SQUARE)), "malformed"),
    "half a triangle and a legal square": (HALF, "malformed"),
    "64 pixels anywhere": (noise(64), "malformed"),
    "two triangles in one column": (draw(TRIANGLE, ("triangle", 40, 1, 15)), "wrong count"),
    "two of the same size, one above the other": (draw(SQUARE, ("square", 45, 23, 15)), "wrong count"),
    "three squares in one column": (draw(*[("square", row, 23, 15) for row in (0, 20, 40)]), "wrong count"),
    "four shapes": (draw(TRIANGLE, SQUARE, PENTAGON, ("pentagon", 2, 43, 15)), "wrong count"),
    "square and triangle have changed places": (draw(("square", 3, 3, 15), ("triangle", 9, 25, 15)), "wrong place"),
    "a triangle among squares and a square": (draw(SQUARE, ("triangle", 2, 23, 17)), "wrong place"),
    "nothing": (BLACK, "blank"),
    "eight stray pixels": (noise(8, columns=slice(0, 21)), "blank"),
    "a shape across two columns": (draw(("square", 20, 12, 17)), "malformed"),
    "a square of no legal size": (draw(("square", 20, 23, 11)), "malformed"),
    "a disc": (draw(("disc", 20, 23, 17)), "malformed"),
    "white right of the columns": (draw(SQUARE) + 2.0 * (np.arange(64)[None, :, None] == 63), "malformed"),
    "a negative": (-draw(SQUARE), "malformed"),
    "grey all over": (0 * BLACK, "malformed"),
    "too faint": (0.4 * draw(TRIANGLE), "malformed"),
    "all three": (draw(TRIANGLE, SQUARE, PENTAGON), "valid"),
    "a little faint": (0.6 * draw(TRIANGLE, SQUARE), "valid"),
    "beyond the range": (1.7 * draw(PENTAGON), "valid"),
    "eight wrong pixels in each column": (
        np.where((np.arange(64)[:, None, None] == 1) & (np.arange(64)[None, :, None] % 21 < 8), 1.0, draw(SQUARE)),
        "valid",
    ),
}


@pytest.mark.slow
def test_shapes_violation_names_planted_faults():
    found = WORLD.names([image for image, _ in PLANTED.values()])
    assert dict(zip(PLANTED, found, strict=True)) == {name: expected for name, (_, expected) in PLANTED.items()}


def test_shapes_violation_allows_the_tolerance_and_no_more():
    image = draw(TRIANGLE, SQUARE)
    flipped = []
    for num in (8, 9):
        flipped.append(image.copy())
        flipped[-1][50, :num] = 1.0
        flipped.append(image.copy())
        flipped[-1][30, 23 : 23 + num] = 0.1
    assert WORLD.names(flipped) == ["valid", "valid", "malformed", "malformed"]


@pytest.mark.slow
def test_shapes_mode_is_the_set_of_shapes_under_noise():
    sets = [[s for s, bit in zip((TRIANGLE, SQUARE, PENTAGON), (1, 2, 4), strict=True) if m & bit] for m in range(1, 8)]
    images = np.stack([draw(*chosen) for chosen in sets])
    assert WORLD.judged(images) == (["valid"] * 7, list(range(7)))
    noisy = np.where(np.random.default_rng(0).random(images.shape) < 0.02, -images, images)
    assert WORLD.judged(noisy) == (["malformed"] * 7, list(range(7)))


def test_shapes_attributes_agree_with_the_mode():
    world, images = WORLD.world, np.stack([draw(TRIANGLE, PENTAGON), draw(("square", 3, 3, 15)), noise(64), BLACK])
    shown = {name: values.tolist() for name, values in fast_jit(world.read)(jnp.asarray(images, jnp.float32)).items()}
    assert shown == {"triangle": [1, 0, -1, 0], "square": [0, 1, -1, 0], "pentagon": [1, 0, -1, 0]}
    assert [values[4] for values in world.mode_attributes.values()] == [1, 0, 1]
    assert set(world.attributes) == set(world.mode_attributes) == set(START)


def test_renderings_have_the_documented_number_and_separation():
    columns = make_columns(tuple(START), 64, (15, 17, 19), tolerance=8, margin=0.5)
    assert np.bincount(columns.kinds).tolist() == [728, 728, 728]
    assert len(np.unique(np.asarray(columns.pictures), axis=0)) == 3 * 728
    legal = [np.concatenate([placed(silhouette(name, size), (64, 21)) for size in (15, 17, 19)]) for name in START]
    assert separation(all_renderings(legal)) == 40


SMALL = shapes(("square", "triangle"), image_size=10, sizes=(3, 4), weights=(0.2, 0.3, 0.5), tolerance=0)


def small_images():
    """All images of the small world with their probabilities and modes, by loops of its own."""
    blank = np.full((10, 5), -1.0)
    pictures = {}
    for name in ("square", "triangle"):
        pictures[name] = [
            np.where(place, 1.0, -1.0) for size in (3, 4) for place in placed(silhouette(name, size), (10, 5))
        ]
    images, shares, modes = [], [], []
    for mode, weight in enumerate((0.2, 0.3, 0.5)):
        columns = [pictures[name] if mode + 1 & bit else [blank] for name, bit in (("square", 1), ("triangle", 2))]
        for left in columns[0]:
            for right in columns[1]:
                images.append(np.concatenate([left, right], axis=1)[..., None])
                shares.append(weight / len(columns[0]) / len(columns[1]))
                modes.append(mode)
    return np.stack(images), np.array(shares), np.array(modes)


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.0), (0.8, 0.6), (0.3, 0.95), (0.0, 1.0)])
def test_shapes_denoiser_matches_enumeration(alpha, sigma):
    images, shares, modes = small_images()
    assert shares.sum() == pytest.approx(1.0)
    mean_of(SMALL, images, shares, modes, levels=(alpha, sigma))


def test_shapes_refuses_impossible_settings():
    with pytest.raises(UsageError, match="tolerance from 0 to 19"):
        shapes(tolerance=20)
    with pytest.raises(UsageError, match="different shapes"):
        shapes(("square", "square"))
    with pytest.raises(UsageError, match="shapes among triangle"):
        shapes(("square", "heart"))
    with pytest.raises(UsageError, match="at most 64 x 21"):
        shapes(sizes=(15, 22))
    with pytest.raises(UsageError, match="margin"):
        shapes(margin=1.0)
    with pytest.raises(UsageError, match="7 weights"):
        shapes(weights=[1.0])
