import os

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data import folder
from aigc_jax.data.pipeline import batches, epoch
from aigc_jax.data.sources import open_data
from aigc_jax.types import UsageError


def opened(path, **options):
    return open_data(f"folder:{path}", **{"image_shape": (8, 8, 1), "num_classes": 2} | options)


def levels(source):
    return {int(image[0, 0, 0]): int(label) for image, label in ((e["image"], e["label"]) for e in examples(source))}


def examples(source):
    return [source[index] for index in range(len(source))]


def message(path, **options):
    with pytest.raises(UsageError) as error:
        opened(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_image_is_in_one_part_under_its_class(picture_dir):
    data = opened(picture_dir)
    assert data.class_names == ["cat", "dog"]
    train, held_out = levels(data.train), levels(data.held_out)
    assert not set(train) & set(held_out)
    assert train | held_out == {**dict.fromkeys(range(20), 0), **dict.fromkeys(range(100, 112), 1)}
    # A tenth of each class.
    assert sorted(held_out.values()) == [0, 0, 1]


def test_split_depends_on_names_alone(picture_dir, tmp_path_factory):
    import shutil

    elsewhere = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(picture_dir, elsewhere)
    assert levels(opened(picture_dir).held_out) == levels(opened(elsewhere).held_out)


def test_other_files_and_hidden_folders_are_passed_over(picture_dir):
    (picture_dir / "cat" / "Thumbs.db").write_text("no image")
    (picture_dir / ".cache").mkdir()
    (picture_dir / "README.txt").write_text("cats and dogs")
    (picture_dir / "cat" / "more").mkdir()
    (picture_dir / "cat" / "0.png").rename(picture_dir / "cat" / "more" / "A.PNG")
    data = opened(picture_dir)
    assert len(data.train) + len(data.held_out) == 32
    assert data.class_names == ["cat", "dog"]


def test_colours_sizes_and_depths_are_brought_to_the_shape(tmp_path):
    def read(image, shape, name="image.png", **options):
        image.save(tmp_path / name, **options)
        return folder.read_image(tmp_path / name, shape)

    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert read(red, (4, 4, 3))[0, 0].tolist() == [255, 0, 0]
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B.
    assert read(red, (4, 4, 1))[0, 0].tolist() == [76]
    assert read(Image.new("L", (4, 4), 9), (4, 4, 3))[0, 0].tolist() == [9, 9, 9]
    assert read(red.convert("P"), (4, 4, 3))[0, 0].tolist() == [255, 0, 0]
    assert read(red.convert("RGBA"), (4, 4, 3))[0, 0].tolist() == [255, 0, 0]
    assert read(red.convert("CMYK"), (4, 4, 3), "image.jpg")[0, 0].tolist() == pytest.approx([255, 0, 0], abs=4)
    sixteen_bit = Image.fromarray(np.full((4, 4), 200 * 256, np.uint16))
    assert read(sixteen_bit, (4, 4, 1))[0, 0].tolist() == [200]


def test_resizing_keeps_the_aspect_ratio(tmp_path):
    # A wide picture: black margins left and right, a grey square in the middle.
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 77
    Image.fromarray(wide).save(tmp_path / "wide.png")
    # The filter looks a little beyond the edge.
    np.testing.assert_allclose(folder.read_image(tmp_path / "wide.png", (5, 5, 1)), 77, atol=5)


def test_cameras_held_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = folder.read_image(tmp_path / "turned.png", (2, 2, 1))
    assert found[..., 0].tolist() == [[0, 255], [0, 0]]


def test_batches(picture_dir):
    batch = next(batches(opened(picture_dir).train, batch_size=16, seed=0))
    np.testing.assert_allclose(batch["image"][:, 0, 0, 0] > 100 / 127.5 - 1 - 1e-6, batch["label"] == 1)


@pytest.mark.parametrize("damage", ["truncated", "no image", "empty"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_broken_image_is_named_on_opening(picture_dir, damage, suffix):
    path = picture_dir / "dog" / f"broken.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "no image": b"GIF?" * 9, "empty": b""}[damage])
    assert str(path) in message(picture_dir)


def test_of_many_images_some_are_checked_later(picture_dir, monkeypatch):
    monkeypatch.setattr(folder, "MAX_CHECKED", 2)
    data = opened(picture_dir)
    broken = data.train.source.files[10][0]
    broken.write_bytes(b"")
    with pytest.raises(UsageError, match=broken.name):
        list(epoch(data.train, 4))


def test_nothing_there(tmp_path):
    assert str(tmp_path / "none") in message(tmp_path / "none")
    assert "sub-folder" in message(tmp_path)
    (tmp_path / "cat").mkdir()
    assert str(tmp_path / "cat") in message(tmp_path)


def test_one_image_of_a_class_is_trained_on(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "1.png")
    assert "two or more" in message(tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "cat" / "2.png")
    data = opened(tmp_path)
    assert sorted(int(e["label"]) for e in examples(data.train)) == [0, 1]
    assert [int(e["label"]) for e in examples(data.held_out)] == [0]


def test_number_of_classes(picture_dir):
    assert "--num-classes 2" in message(picture_dir, num_classes=10)
    assert len(opened(picture_dir, num_classes=None).class_names) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_image(picture_dir):
    path = picture_dir / "cat" / "0.png"
    path.chmod(0)
    assert str(path) in message(picture_dir)
