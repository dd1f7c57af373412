import os
import stat

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data import images
from aigc_jax.types import UsageError

LEVELS = np.arange(256, dtype=np.uint8)


def test_to_uint8_inverts_to_float():
    floats = images.to_float(LEVELS)
    assert floats.dtype == np.float32
    assert (floats[0], floats[-1]) == (-1, 1)
    np.testing.assert_array_equal(images.to_uint8(floats), LEVELS)


def test_to_uint8_clips():
    np.testing.assert_array_equal(images.to_uint8(np.float32([-3, 3])), [0, 255])


def test_make_grid_places_images_row_by_row():
    cells = np.broadcast_to(np.uint8([10, 20, 30, 40, 50])[:, None, None, None], (5, 4, 6, 1))
    grid = images.make_grid(cells, 2, scale=3)
    pitch_y, pitch_x = (4 + images.GAP) * 3, (6 + images.GAP) * 3
    assert grid.shape == (3 * pitch_y + images.GAP * 3, 2 * pitch_x + images.GAP * 3, 3)
    for number, level in enumerate([10, 20, 30, 40, 50, images.BACKGROUND]):
        top = images.GAP * 3 + number // 2 * pitch_y
        left = images.GAP * 3 + number % 2 * pitch_x
        assert (grid[top : top + 12, left : left + 18] == level).all()


def test_make_grid_keeps_colour():
    grid = images.make_grid(np.broadcast_to(np.uint8([1, 2, 3]), (1, 4, 4, 3)), 1, scale=1)
    assert grid[images.GAP, images.GAP].tolist() == [1, 2, 3]


def test_make_grid_draws_row_labels_left_of_their_rows():
    cells = np.zeros((4, 28, 28, 1), np.uint8)
    plain = images.make_grid(cells, 2)
    labelled = images.make_grid(cells, 2, row_labels=["", "seven"])
    margin = labelled[:, : labelled.shape[1] - plain.shape[1]]
    np.testing.assert_array_equal(labelled[:, margin.shape[1] :], plain)
    middle = len(margin) // 2
    assert margin[:middle].min() == 255
    assert margin[middle:].min() < 64


def test_make_grid_refuses_other_shapes_and_labels():
    cells = np.zeros((4, 2, 2, 1), np.uint8)
    with pytest.raises(ValueError, match="2 rows need 2 labels"):
        images.make_grid(cells, 2, row_labels=["one"])
    with pytest.raises(ValueError, match="RGB"):
        images.make_grid(np.zeros((4, 2, 2, 2), np.uint8), 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_to_png_keeps_the_pixels(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = tmp_path / "new" / "image.png"
    images.write_png(path, image)
    with Image.open(path) as read:
        np.testing.assert_array_equal(np.asarray(read).reshape(5, 7, channels), image)
    assert os.listdir(path.parent) == ["image.png"]


def test_write_png_has_the_permissions_of_any_new_file(tmp_path):
    umask = os.umask(0o022)
    try:
        images.write_png(tmp_path / "a.png", np.zeros((2, 2, 1), np.uint8))
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o644


def test_write_png_to_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as error:
        images.write_png(tmp_path / "file" / "a.png", np.zeros((2, 2, 1), np.uint8))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_levels", [2, 4, 8])
def test_grey_tokens_round_trip_and_share_the_256_values(num_levels):
    modality = images.grey_tokens(num_levels)
    tokens = np.arange(num_levels, dtype=np.int32).reshape(1, 1, -1, 1)
    np.testing.assert_array_equal(modality.load(modality.store(tokens)), tokens)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1)
    np.testing.assert_array_equal(np.bincount(modality.load(pixels).ravel()), 256 // num_levels)


def test_load_images_takes_floats_in_range_and_refuses_others():
    floats = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(images.load_images(floats), floats)
    for wrong in (floats * 127, (floats + 1) * 127.5, np.zeros((1, 2, 2, 1), np.int32)):
        with pytest.raises(UsageError, match="uint8"):
            images.load_images(wrong)
