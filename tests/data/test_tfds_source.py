import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aigc_jax.data.pipeline import batches, epoch
from aigc_jax.data.sources import open_data
from aigc_jax.data.tfds_source import Place, TfdsSource, find_versions
from aigc_jax.types import UsageError
from tests.data.conftest import SHAPE, SPLITS, pixels

REAL = Path(__file__).parents[3] / "shared" / "tfds"


def opened(form, root, **options):
    fit = {"image_shape": SHAPE, "num_classes": 2, **options}
    return open_data(f"tfds:tiny_pictures/{form}", data_dir=str(root), **fit)


def images(source):
    return {example["image"].tobytes() for example in map(source.__getitem__, range(len(source)))}


def expected(split, form="plain"):
    return {pixels(split, number).tobytes() for number in range(SPLITS[form][split])}


@pytest.fixture
def copied(tfds_dir, tmp_path):
    """The prepared ``plain`` form, to be damaged."""
    shutil.copytree(tfds_dir / "tiny_pictures" / "plain", tmp_path / "tiny_pictures" / "plain")
    return tmp_path / "tiny_pictures" / "plain" / "1.2.0"


def message(form, root, **options):
    with pytest.raises(UsageError) as error:
        opened(form, root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_open_tfds_keeps_every_pixel(tfds_dir):
    data = opened("plain", tfds_dir)
    assert images(data.train) == expected("train")
    assert images(data.held_out) == expected("test")
    assert data.class_names == ("cat", "dog")
    example = data.train[0]
    assert (example["image"].shape, example["image"].dtype) == (SHAPE, np.uint8)
    assert (example["label"].shape, example["label"].dtype) == ((), np.int32)


def test_tfds_source_is_a_finite_sequence(tfds_dir):
    data = opened("plain", tfds_dir)
    for source in (data.held_out, data.held_out.source):
        assert len(list(source)) == 10
        with pytest.raises(IndexError):
            source[10]


def test_open_tfds_holds_out_validation_without_test(tfds_dir):
    assert images(opened("validated", tfds_dir).held_out) == expected("validation", "validated")


def test_open_tfds_holds_out_a_tenth_of_train_without_other_splits(tfds_dir):
    data = opened("train_only", tfds_dir)
    assert (len(data.train), len(data.held_out)) == (27, 3)
    assert images(data.train) | images(data.held_out) == expected("train")
    assert not images(data.train) & images(data.held_out)


def test_tfds_source_gives_the_same_batches_for_any_number_of_threads(tfds_dir):
    for _ in range(3):
        # Opened anew: the threads race for an empty cache.
        source = opened("plain", tfds_dir).train
        first, second = (batches(source, batch_size=8, seed=0, num_threads=n) for n in (4, 0))
        for _ in range(6):
            one, other = next(first), next(second)
            np.testing.assert_array_equal(one["example"], other["example"])
            np.testing.assert_array_equal(one["condition"], other["condition"])


def test_open_tfds_without_labels_serves_unconditional_models(tfds_dir):
    data = opened("unlabelled", tfds_dir, num_classes=None)
    assert set(data.train[0]) == {"image"}
    assert data.class_names == ()
    assert "--num-classes None" in message("unlabelled", tfds_dir)


def test_tfds_source_decodes_the_formats_of_the_data_set(tfds_dir):
    # JPEG is lossy, but even noise stays nearest to itself.
    data = opened("jpeg", tfds_dir)
    found = np.stack([data.held_out[index]["image"] for index in range(5)]).astype(int)
    originals = np.stack([pixels("test", number) for number in range(5)]).astype(int)
    distance = np.abs(found[:, None] - originals).mean((2, 3, 4))
    assert sorted(distance.argmin(axis=1)) == list(range(5))
    assert distance.min() > 0


def test_open_tfds_takes_the_newest_complete_version(copied):
    for name in ("1.10.0", "1.9.9"):
        shutil.copytree(copied, copied.parent / name)
    (copied.parent / "2.0.0").mkdir()
    (copied.parent / "1.11.0.incomplete.XY").mkdir()
    assert [path.name for path in find_versions(copied.parent)] == ["1.2.0", "1.9.9", "1.10.0"]
    assert "1.2.0" in str(find_versions(copied))


def test_open_tfds_of_missing_data_names_the_command(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=f"aigc-jax data prepare tfds:mnist --data-dir {tmp_path}"):
        open_data("tfds:mnist", data_dir=str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "my data"))
    with pytest.raises(UsageError, match=f"--data-dir '{tmp_path}/my data'"):
        open_data("tfds:mnist")


def test_open_tfds_asks_for_one_of_several_forms(tfds_dir):
    with pytest.raises(UsageError, match="tfds:tiny_pictures/plain"):
        open_data("tfds:tiny_pictures", data_dir=str(tfds_dir))


def test_open_tfds_refuses_a_missing_train_split(tfds_dir):
    assert "train" in message("no_train", tfds_dir)


def test_open_tfds_refuses_images_of_various_sizes(tfds_dir):
    assert "folder:DIR" in message("various_sizes", tfds_dir)


def test_open_tfds_refuses_data_without_images(copied):
    features = json.loads((copied / "features.json").read_text())
    named = features["featuresDict"]["features"]
    named["picture"] = named.pop("image")
    (copied / "features.json").write_text(json.dumps(features))
    assert "label, picture" in message("plain", copied.parents[2])


def test_open_data_of_tfds_checks_shape_and_number_of_classes(tfds_dir):
    assert "--image-shape 6 4 3" in message("plain", tfds_dir, image_shape=(28, 28, 1))
    assert "--num-classes 2" in message("plain", tfds_dir, num_classes=10)
    opened("plain", tfds_dir, num_classes=None)


def test_tfds_source_names_a_label_out_of_range(tfds_dir):
    data = opened("bad_label", tfds_dir)
    with pytest.raises(UsageError, match="-1"):
        list(epoch(data.train, 5))
    # From another thread, too.
    with pytest.raises(UsageError, match="-1"):
        next(batches(data.train, batch_size=10, seed=0))


class Records:
    """Records of one image each, as tfds hands them out undecoded."""

    def __init__(self, *images, **options):
        self.files = []
        for image in images:
            file = io.BytesIO()
            image.save(file, **options)
            self.files.append(file.getvalue())

    def __getitems__(self, rows):
        return [{"image": self.files[row]} for row in rows]


def decoded(image, shape, **options):
    place = Place("strange", Path("data"), Path("data/strange"), "aigc-jax data prepare tfds:strange")
    source = TfdsSource(
        Records(image, **options), range(1), place=place, split="train", image_shape=shape, num_classes=0
    )
    return source[0]["image"]


@pytest.mark.parametrize("kind", ["EPS", "BMP", "TIFF", "GIF"])
def test_tfds_source_decodes_no_other_formats(kind):
    with pytest.raises(UsageError, match="neither PNG nor JPEG"):
        decoded(Image.new("RGB", (4, 4)), (4, 4, 3), format=kind)


def test_tfds_source_refuses_images_of_another_size_than_declared():
    with pytest.raises(UsageError, match="5 x 4, not of 4 x 4"):
        decoded(Image.new("L", (4, 5)), (4, 4, 1), format="PNG")


def test_tfds_source_makes_transparent_pixels_white():
    assert decoded(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), (1, 1, 3), format="PNG").tolist() == [[[255, 255, 255]]]


def test_tfds_checksum_changes_with_content_and_not_with_place(tfds_dir, copied):
    before = opened("plain", tfds_dir).checksum
    assert opened("plain", copied.parents[2]).checksum == before
    assert opened("validated", tfds_dir).checksum != before
    copied.rename(copied.with_name("1.3.0"))
    assert opened("plain", copied.parents[2]).checksum != before


def test_open_tfds_names_a_truncated_file(copied):
    path = next(copied.glob("*-test.array_record*"))
    path.write_bytes(path.read_bytes()[:-1000])
    assert str(copied) in message("plain", copied.parents[2])
    path.write_bytes(b"")
    assert "aigc-jax data prepare" in message("plain", copied.parents[2])
    path.unlink()
    assert "damaged" in message("plain", copied.parents[2])


def test_tfds_source_names_flipped_bits(copied):
    path = next(copied.glob("*-train.array_record*"))
    content = bytearray(path.read_bytes())
    used = len(content.rstrip(b"\0"))
    for place in range(0, min(used, 20_000), 50):
        content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        list(epoch(opened("plain", copied.parents[2]).train, 10))


def spoil_records(copied, split, numbers):
    """Flip a byte in the middle of some records of a split."""
    path = next(copied.glob(f"*-{split}.array_record*"))
    content = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(b"IHDR", bytes(content))]
    for number in numbers:
        content[starts[number] + 60] ^= 0xFF
    path.write_bytes(content)


def test_tfds_names_the_record_that_cannot_be_read(copied):
    spoil_records(copied, "train", [7])
    text = message("plain", copied.parents[2])
    assert "record 7 of split train of tfds:tiny_pictures/plain" in text
    assert "--skip-broken True" in text


def test_tfds_leaves_out_broken_records_within_the_budget(copied):
    whole = images(opened("plain", copied.parents[2]).train)
    spoil_records(copied, "train", [0, 7, 29])
    data = opened("plain", copied.parents[2], skip_broken=True)
    assert list(data.remarks) == ["3 damaged records of train left out"]
    assert (len(data.train), len(images(data.train)), len(data.held_out)) == (27, 27, 10)
    assert images(data.train) < whole
    text = message("plain", copied.parents[2], skip_broken=True, max_broken=0.09)
    assert "3 of 30 records of train cannot be read, more than --max-broken 0.09 allows: 0 (" in text
    assert "29 (" in text
    spoil_records(copied, "test", range(10))
    assert "10 of 10 records of test" in message("plain", copied.parents[2], skip_broken=True, max_broken=0.99)


def test_open_tfds_names_a_damaged_description(copied):
    (copied / "dataset_info.json").write_text("{")
    assert "damaged" in message("plain", copied.parents[2])


def test_open_tfds_refuses_another_file_format(copied):
    info = json.loads((copied / "dataset_info.json").read_text())
    (copied / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    assert "array_record" in message("plain", copied.parents[2])


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "mean"),
    # Means of the training pixels as everyone normalises by them: 0.1307 for MNIST, (0.491, 0.482, 0.447) for CIFAR-10.
    [("mnist", (28, 28, 1), (60000, 10000), 0.1307), ("cifar10", (32, 32, 3), (50000, 10000), 0.4734)],
)
def test_open_tfds_reads_real_data(name, shape, sizes, mean):
    if not (REAL / name).is_dir():
        pytest.skip(f"no prepared {name} next to this checkout")
    data = open_data(f"tfds:{name}", data_dir=str(REAL), image_shape=shape)
    assert (len(data.train), len(data.held_out)) == sizes
    batch = next(batches(data.train, batch_size=512, seed=0))
    assert set(batch["condition"].tolist()) == set(range(10))
    # A standard error of the mean over 512 images is below 0.01.
    assert abs((batch["example"].mean() + 1) / 2 - mean) < 0.04
