import os
import shutil

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data import decoding, folder
from aigc_jax.data.broken import MAX_NAMED
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


def test_open_folder_puts_every_image_in_one_part_and_class(picture_dir):
    data = opened(picture_dir)
    assert data.class_names == ["cat", "dog"]
    train, held_out = levels(data.train), levels(data.held_out)
    assert not set(train) & set(held_out)
    assert train | held_out == {**dict.fromkeys(range(20), 0), **dict.fromkeys(range(100, 112), 1)}
    # A tenth of each class.
    assert sorted(held_out.values()) == [0, 0, 1]


def test_open_folder_split_depends_only_on_names(picture_dir, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(picture_dir, elsewhere)
    assert levels(opened(picture_dir).held_out) == levels(opened(elsewhere).held_out)


def test_open_folder_remarks_name_the_conversions(picture_dir):
    (picture_dir / "cat" / "Thumbs.db").write_text("no image")
    (picture_dir / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")  # AppleDouble of macOS
    data = opened(picture_dir)
    assert len(data.train) + len(data.held_out) == 32
    assert data.class_names == ["cat", "dog"]
    text = "; ".join(data.remarks)
    for fact in ("8 x 8 x 1", "1 .db", "1 hidden", "on white"):
        assert fact in text


def test_open_folder_labels_of_numbered_folders_are_their_numbers(tmp_path):
    for label in range(12):
        (tmp_path / str(label)).mkdir()
        for number in range(3):
            Image.new("L", (8, 8), 20 * label).save(tmp_path / str(label) / f"{number}.png")
    data = opened(tmp_path, num_classes=12)
    assert levels(data.train) == {20 * label: label for label in range(12)}
    assert data.class_names == [str(label) for label in range(12)]


def test_open_folder_takes_names_that_are_not_utf8(picture_dir):
    os.rename(picture_dir / "cat" / "0.png", os.fsencode(picture_dir) + b"/cat/gr\xfcn.png")
    data = opened(picture_dir)
    assert set(levels(data.train)) | set(levels(data.held_out)) == {*range(20), *range(100, 112)}


def test_open_folder_without_classes_has_no_labels(picture_dir):
    data = opened(picture_dir / "cat", num_classes=None)
    assert (len(data.train), len(data.held_out), data.class_names) == (18, 2, [])
    assert set(data.train[0]) == {"image"}
    assert data.train.labels is None


def test_folder_source_has_labels_without_reading(picture_dir):
    data = opened(picture_dir)
    assert data.train.labels.tolist() == [int(example["label"]) for example in examples(data.train)]


def test_open_folder_name_is_that_of_the_folder(picture_dir, monkeypatch):
    monkeypatch.chdir(picture_dir)
    name = f"folder:{picture_dir.name}"
    assert [opened(path).name for path in (picture_dir, ".", f"../{picture_dir.name}/")] == [name] * 3


def test_folder_checksum_changes_with_content_and_not_with_place(picture_dir, tmp_path_factory):
    before = opened(picture_dir).checksum
    copy = shutil.copytree(picture_dir, tmp_path_factory.mktemp("other") / "copy")
    assert opened(copy).checksum == before == opened(copy, image_shape=(4, 4, 3)).checksum
    changes = [
        lambda: (copy / "cat/0.png").rename(copy / "cat/00.png"),
        lambda: (copy / "cat/1.png").rename(copy / "dog/cat.png"),
        lambda: (copy / "cat").rename(copy / "zebra"),
        lambda: Image.new("L", (8, 8), 9).save(copy / "dog/cat.png"),
        lambda: (copy / "dog/0.png").unlink(),
    ]
    seen = [before]
    for change in changes:
        change()
        seen.append(opened(copy).checksum)
    assert len(set(seen)) == 6


def test_read_image_converts_colours_sizes_and_depths(tmp_path):
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
    assert read(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (4, 4, 3))[0, 0].tolist() == [255, 255, 255]
    assert read(red.convert("CMYK"), (4, 4, 3), "image.jpg")[0, 0].tolist() == pytest.approx([255, 0, 0], abs=4)
    sixteen_bit = Image.fromarray(np.full((4, 4), 200 * 256, np.uint16))
    assert read(sixteen_bit, (4, 4, 1))[0, 0].tolist() == [200]


def test_read_image_keeps_the_aspect_ratio(tmp_path):
    # A wide picture: black margins left and right, a grey square in the middle.
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 77
    Image.fromarray(wide).save(tmp_path / "wide.png")
    # The filter looks a little beyond the edge.
    np.testing.assert_allclose(folder.read_image(tmp_path / "wide.png", (5, 5, 1)), 77, atol=5)


def test_read_image_applies_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = folder.read_image(tmp_path / "turned.png", (2, 2, 1))
    assert found[..., 0].tolist() == [[0, 255], [0, 0]]


def test_folder_source_gives_batches(picture_dir):
    batch = next(batches(opened(picture_dir).train, batch_size=16, seed=0))
    np.testing.assert_allclose(batch["example"][:, 0, 0, 0] > 100 / 127.5 - 1 - 1e-6, batch["condition"] == 1)


def spoil(path, damage="empty"):
    """A file that is no image, or half of one."""
    file_format = {".png": "PNG", ".jpg": "JPEG"}[path.suffix]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    if damage == "EPS":
        noise.save(path, format="EPS")
        return path
    noise.save(path, format=file_format)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "no image": b"GIF?" * 9, "empty": b""}[damage])
    return path


@pytest.mark.parametrize("damage", ["truncated", "no image", "empty", "EPS"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_open_folder_names_a_broken_image(picture_dir, damage, suffix):
    path = spoil(picture_dir / "dog" / f"broken.{suffix}", damage)
    text = message(picture_dir)
    assert text.count(str(path)) == 1
    assert "--skip-broken" in text


def test_open_folder_names_all_broken_images_at_once(picture_dir):
    # The first file of a part is read before all others.
    first = opened(picture_dir).train.source.files[0][0]
    paths = [spoil(path) for path in (first, *(picture_dir / name for name in ("cat/a.png", "dog/b.jpg", "dog/c.png")))]
    text = message(picture_dir)
    assert "4 images" in text
    assert all(str(path) in text for path in paths)


def test_open_folder_counts_many_broken_images(picture_dir):
    for number in range(33):
        spoil(picture_dir / "cat" / f"broken{number}.png")
    text = message(picture_dir)
    assert (text.count(".png ("), "33 images" in text, "23 more" in text) == (MAX_NAMED, True, True)


def test_skip_broken_leaves_out_broken_images(picture_dir):
    before = opened(picture_dir)
    for source in (before.train, before.held_out):
        spoil(source.source.files[0][0])
        spoil(source.source.files[-1][0])
    broken = [source.source.files[index] for source in (before.train, before.held_out) for index in (0, -1)]
    data = opened(picture_dir, skip_broken=True, max_broken=0.125)  # of 32
    assert "4 broken" in data.remarks[-1]
    left = [*data.train.source.files, *data.held_out.source.files]
    assert sorted(left + broken) == sorted([*before.train.source.files, *before.held_out.source.files])
    # The others stay in their part.
    assert set(data.held_out.source.files) < set(before.held_out.source.files)
    assert len(examples(data.train)) == len(data.train) == len(before.train) - 2
    assert set(data.train.labels.tolist()) == {0, 1}


def test_skip_broken_reads_every_file(picture_dir, monkeypatch):
    monkeypatch.setattr(folder, "MAX_CHECKED", 2)
    broken = spoil(opened(picture_dir).train.source.files[10][0])
    assert broken not in dict(opened(picture_dir, skip_broken=True).train.source.files)


def test_skip_broken_stops_beyond_its_budget(picture_dir):
    paths = [spoil(picture_dir / name) for name in ("cat/a.png", "dog/b.jpg", "dog/c.png", "dog/d.png")]
    text = message(picture_dir, skip_broken=True, max_broken=0.11)  # of 36
    assert "4 of 36 images cannot be read, more than --max-broken 0.11 allows" in text
    assert all(str(path) in text for path in paths)


def test_skip_broken_refuses_a_class_of_broken_images(picture_dir):
    for path in (picture_dir / "dog").iterdir():
        spoil(path)
    assert "class dog" in message(picture_dir, skip_broken=True, max_broken=0.9)
    for path in (picture_dir / "cat").iterdir():
        spoil(path)
    text = message(picture_dir, skip_broken=True)
    assert "32 images" in text
    assert "--skip-broken" not in text  # it is given


def test_open_folder_messages_are_one_printable_line(picture_dir):
    for name in (b"dog/a\n\x1b[2Jb.png", b"dog/gr\xfcn.png"):
        with open(os.fsencode(picture_dir) + b"/" + name, "wb"):
            pass
    text = message(picture_dir)
    assert text.isprintable()
    assert r"a\n\x1b[2Jb.png" in text
    assert r"gr\xfcn.png" in text


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_open_folder_refuses_a_huge_image_in_one_line(picture_dir, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100)
    Image.new("L", (11, 10)).save(picture_dir / "dog" / "huge.png")
    assert "11 x 10 pixels" in message(picture_dir)


def test_open_folder_checks_some_of_many_images(picture_dir, monkeypatch):
    monkeypatch.setattr(folder, "MAX_CHECKED", 2)
    data = opened(picture_dir)
    broken = data.train.source.files[10][0]
    broken.write_bytes(b"")
    with pytest.raises(UsageError, match=broken.name):
        list(epoch(data.train, 4))


def test_open_folder_refuses_missing_and_empty_folders(tmp_path):
    assert str(tmp_path / "none") in message(tmp_path / "none")
    assert "sub-folder" in message(tmp_path)
    (tmp_path / "cat").mkdir()
    assert str(tmp_path / "cat") in message(tmp_path)


def test_open_folder_trains_on_the_only_image_of_a_class(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "1.png")
    assert "two or more" in message(tmp_path)
    Image.new("L", (8, 8)).save(tmp_path / "cat" / "2.png")
    data = opened(tmp_path)
    assert sorted(int(e["label"]) for e in examples(data.train)) == [0, 1]
    assert [int(e["label"]) for e in examples(data.held_out)] == [0]


def test_open_data_of_a_folder_checks_the_number_of_classes(picture_dir):
    assert "--num-classes 2" in message(picture_dir, num_classes=10)
    assert len(opened(picture_dir, num_classes=None).class_names) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_source_raises_for_an_unreadable_image(picture_dir):
    path = picture_dir / "cat" / "0.png"
    path.chmod(0)
    assert str(path) in message(picture_dir)
