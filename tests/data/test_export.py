import os

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data.export import write_npz
from aigc_jax.data.images import write_png_folder
from aigc_jax.types import UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 3, 3)).astype(np.uint8)
LABELS = np.int32([0, 1, 0, 1, 0, 1, 1])


def blocks(values, size=3):
    return (values[first : first + size] for first in range(0, len(values), size))


def broken(values):
    yield values[:3]
    raise OSError(28, "No space left on device")


def test_write_npz_of_blocks_is_read_back(tmp_path):
    write_npz(tmp_path / "new" / "a.npz", blocks(PIXELS), LABELS, num=7, name="image", names=["cat", "blue bird"])
    with np.load(tmp_path / "new" / "a.npz") as read:
        assert sorted(read) == ["class_names", "image", "label"]
        np.testing.assert_array_equal(read["image"], PIXELS)
        np.testing.assert_array_equal(read["label"], LABELS)
        assert (read["image"].dtype, read["label"].dtype) == (np.uint8, np.int32)
        assert read["class_names"].tolist() == ["cat", "blue bird"]


def test_write_npz_of_points_without_classes(tmp_path):
    points = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    write_npz(tmp_path / "a.npz", [points], None, num=5, name="point")
    with np.load(tmp_path / "a.npz") as read:
        assert list(read) == ["point"]
        np.testing.assert_array_equal(read["point"], points)


def test_write_npz_that_fails_keeps_the_old_file(tmp_path):
    (tmp_path / "a.npz").write_text("old")
    with pytest.raises(UsageError, match="cannot write"):
        write_npz(tmp_path / "a.npz", broken(PIXELS), None, num=7, name="image")
    assert (tmp_path / "a.npz").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_write_png_folder_keeps_pixels_and_order(tmp_path):
    write_png_folder(tmp_path / "free", blocks(PIXELS), None, num=7)
    assert sorted(os.listdir(tmp_path / "free")) == [f"{number:05}.png" for number in range(7)]
    write_png_folder(tmp_path / "new" / "named", blocks(PIXELS), LABELS, num=7, names=["cat", "blue/bird"])
    files = sorted((tmp_path / "new" / "named").iterdir())
    assert [file.name for file in files[:2]] == ["00000_cat.png", "00001_blue-bird.png"]
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), PIXELS)
    write_png_folder(tmp_path / "numbered", blocks(PIXELS[..., :1]), LABELS, num=7)
    assert (tmp_path / "numbered" / "00001_1.png").exists()


def test_write_png_folder_refuses_a_folder_with_files(tmp_path):
    (tmp_path / "empty").mkdir()
    write_png_folder(tmp_path / "empty", blocks(PIXELS), None, num=7)
    for place in ("empty", "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="empty folder"):
            write_png_folder(tmp_path / place, blocks(PIXELS), None, num=7)
    assert len(os.listdir(tmp_path / "empty")) == 7


def test_write_png_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="No space"):
        write_png_folder(tmp_path / "a", broken(PIXELS), None, num=7)
    assert os.listdir(tmp_path) == []
