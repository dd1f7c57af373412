"""Pictures of ``aigc-jax latents``, of a known autoencoder."""

import numpy as np
import pytest

from aigc_jax.cli.latents import NUM_COLUMNS, Encoded, interpolation, reconstruction, traversal
from aigc_jax.data.images import to_uint8
from aigc_jax.inference.latents import LatentFns


def decode(latents, condition):
    """Pixel i shows latent i; the class is not looked at."""
    return np.clip(latents.reshape(-1, 2, 2, 1), -1, 1).astype(np.float32)


FNS = LatentFns(lambda images, label: images.reshape(-1, 4), decode)


def encoded(labels=None, num=40, is_map=False):
    latents = (np.random.default_rng(0).normal(size=(num, 4)) * np.array([0.01, 0.3, 0.1, 0.2])).astype(np.float32)
    return Encoded(decode(latents, None), labels, latents.reshape(num, 2, 2, 1) if is_map else latents)


def cells(picture, size=2):
    """The images of a grid, without the labels on its left: [row, column, height, width]."""
    gap, scale = 2, 2
    pitch = (size + gap) * scale
    columns = picture[:, -(NUM_COLUMNS * pitch + gap * scale) :, 0]
    rows = columns.shape[0] // pitch
    found = np.zeros((rows, NUM_COLUMNS, size, size), np.uint8)
    for row in range(rows):
        for column in range(NUM_COLUMNS):
            top, left = row * pitch + gap * scale, column * pitch + gap * scale
            found[row, column] = columns[top : top + size * scale : scale, left : left + size * scale : scale]
    return found


def test_reconstructions_stand_under_their_images():
    examples = encoded(num=25)
    rows = cells(reconstruction(FNS._replace(decode=lambda z, c: -decode(z, c)), examples))
    assert rows.shape[:2] == (4, NUM_COLUMNS)
    np.testing.assert_array_equal(rows[2], to_uint8(examples.images[10:20, ..., 0]))
    np.testing.assert_array_equal(rows[3], to_uint8(-examples.images[10:20, ..., 0]))


def test_interpolations_go_straight_within_a_class():
    examples = encoded(labels=np.arange(40) % 3)
    rows = cells(interpolation(FNS, examples)).astype(int)
    assert rows.shape[:2] == (3, NUM_COLUMNS)
    for label in range(3):
        start, end = (to_uint8(examples.images[i, ..., 0]) for i in (label, label + 3))
        for column, expected in ((0, start), (1, start), (8, end), (9, end)):
            np.testing.assert_array_equal(rows[label, column], expected)
    # The pixels are the latents: equal steps on the way.
    steps = np.diff(rows[:, 1:9], axis=1)
    assert np.ptp(steps, axis=1).max() <= 2
    assert cells(interpolation(FNS, encoded())).shape[:2] == (10, NUM_COLUMNS)


@pytest.mark.parametrize("is_map", [False, True])
def test_traversals_move_the_widest_direction_first(is_map):
    picture = traversal(FNS, encoded(labels=np.zeros(40, int), is_map=is_map))
    ranges = np.ptp(cells(picture).astype(int), axis=1).reshape(4, 4)
    assert ranges.argmax(axis=1).tolist() == [1, 3, 2, 0]
    if not is_map:  # one coordinate moves one pixel
        assert np.count_nonzero(ranges, axis=1).tolist() == [1, 1, 1, 1]
