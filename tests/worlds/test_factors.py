"""Coloured shapes: attributes, withheld combinations, planted violations, exact denoiser."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.types import UsageError
from aigc_jax.worlds.factors import factors
from aigc_jax.worlds.silhouettes import silhouette
from tests.worlds.enumeration import mean_of
from tests.worlds.opened import fast_jit, opened

WORLD = opened("factors")
READ = fast_jit(WORLD.world.read)
CHANNELS = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}
CORNERS = {"top left": (0, 0), "top right": (0, 16), "bottom left": (16, 0), "bottom right": (16, 16)}


def draw(*things, side=32):
    """Things as (shape, pixels, colour, row, column)."""
    image = np.full((side, side, 3), -1.0)
    for shape, size, colour, row, column in things:
        for channel in CHANNELS[colour]:
            image[row : row + size, column : column + size, channel][silhouette(shape, size)] = 1.0
    return image


def with_pixels(image, num):
    image = image.copy()
    image[30, :num, 2] = 1.0
    return image


PLANTED = {
    "a green disc": (draw(("disc", 9, "green", 3, 4)), "valid"),
    "a withheld red square": (draw(("square", 13, "red", 17, 18)), "valid"),
    "a withheld small triangle": (draw(("triangle", 9, "blue", 0, 0)), "valid"),
    "four wrong values": (with_pixels(draw(("disc", 9, "green", 3, 4)), 4), "valid"),
    "five wrong values": (with_pixels(draw(("disc", 9, "green", 3, 4)), 5), "malformed"),
    "two things": (draw(("disc", 9, "green", 3, 4), ("disc", 9, "green", 20, 20)), "malformed"),
    "across two quarters": (draw(("square", 13, "green", 10, 2)), "malformed"),
    "an unknown colour": (draw(("disc", 9, "yellow", 3, 4)), "malformed"),
    "an unknown size": (draw(("square", 11, "green", 3, 4)), "malformed"),
    "an unknown shape": (draw(("cross", 13, "green", 3, 3)), "malformed"),
    "nothing": (draw(), "blank"),
}


def test_factors_violation_names_planted_faults():
    two = draw(("square", 13, "green", 2, 2))
    two[:8] = two[:8, :, [1, 0, 2]]
    planted = PLANTED | {"half of it another colour": (two, "malformed")}
    found = WORLD.names([image for image, _ in planted.values()])
    assert dict(zip(planted, found, strict=True)) == {name: expected for name, (_, expected) in planted.items()}


@pytest.mark.slow
def test_factors_reads_all_combinations():
    values = {name: list(names) for name, names in WORLD.world.attributes.items()}
    combinations = list(itertools.product(*values.values()))
    sizes = {"small": 9, "large": 13}
    images = np.stack([
        draw((shape, sizes[size], colour, CORNERS[place][0] + 2, CORNERS[place][1] + 1))
        for shape, size, colour, place in combinations
    ])  # fmt: skip
    assert WORLD.judged(images) == (["valid"] * 72, list(range(72)))
    shown = READ(jnp.asarray(images, jnp.float32))
    for column, (name, names) in enumerate(values.items()):
        expected = [names.index(combination[column]) for combination in combinations]
        assert shown[name].tolist() == expected == WORLD.world.mode_attributes[name].tolist()
    hidden = [
        mode
        for mode, (shape, size, colour, place) in enumerate(combinations)
        if (shape, colour) == ("square", "red") or (shape, size, place) == ("triangle", "small", "top left")
    ]
    assert list(WORLD.world.withheld) == hidden
    broken = READ(jnp.asarray(-images, jnp.float32))
    assert {name: set(value.tolist()) for name, value in broken.items()} == {name: {-1} for name in values}


def test_factors_training_data_show_every_value():
    seen = np.setdiff1d(np.arange(72), WORLD.world.withheld)
    for name, values in WORLD.world.mode_attributes.items():
        assert set(values[seen]) == set(range(len(WORLD.world.attributes[name])))


def test_factors_withholds_by_given_rules():
    world = factors(("cross", "square"), colours=("yellow", "cyan"), withheld=({"place": "top left"},))
    assert world.num_modes == 32
    assert [world.mode_attributes["place"][mode] for mode in world.withheld] == [0] * 8
    assert factors(withheld=()).withheld == ()
    weights = np.where(np.isin(np.arange(72), WORLD.world.withheld), 0.0, 1 / 61)
    assert factors(weights=weights.tolist()).mode_weights == pytest.approx(weights)


SMALL = factors(
    ("square", "triangle"),
    sizes={"only": 3},
    colours=("red", "yellow"),
    withheld=({"shape": "square", "colour": "red", "place": "top left"},),
    image_size=10,
    tolerance=0,
)


def small_images():
    images, modes = [], []
    corners = [(row, column) for row in (0, 5) for column in (0, 5)]
    for mode, (shape, colour, corner) in enumerate(
        itertools.product(("square", "triangle"), ("red", "yellow"), corners)
    ):
        for down, right in itertools.product(range(3), repeat=2):
            images.append(draw((shape, 3, colour, corner[0] + down, corner[1] + right), side=10))
            modes.append(mode)
    modes = np.array(modes)
    return np.stack(images), np.where(modes == 0, 0.0, 1 / 15 / 9), modes


@pytest.mark.parametrize(("alpha", "sigma"), [(0.8, 0.6), (0.3, 0.95), (0.0, 1.0)])
def test_factors_denoiser_matches_enumeration(alpha, sigma):
    images, shares, modes = small_images()
    assert shares.sum() == pytest.approx(1.0)
    mean_of(SMALL, images, shares, modes, levels=(alpha, sigma))
    assert SMALL.withheld == (0,)


def test_factors_refuses_impossible_settings():
    with pytest.raises(UsageError, match="colours among red"):
        factors(colours=("pink",))
    with pytest.raises(UsageError, match="shape disc, square"):
        factors(withheld=({"shape": "heart"},))
    with pytest.raises(UsageError, match="shape disc, square"):
        factors(withheld=({"form": "disc"},))
    with pytest.raises(UsageError, match="0 for modes 24"):
        factors(weights=[1 / 72] * 72)
    with pytest.raises(UsageError, match="at least one mode"):
        factors(withheld=({},))
    with pytest.raises(UsageError, match="tolerance from 0 to 5"):
        factors(tolerance=6)
    with pytest.raises(UsageError, match="even number of pixels"):
        factors(image_size=33)
