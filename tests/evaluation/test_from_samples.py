"""Samples of any origin: files and arrays are read with their classes, or refused in one line, and get a report."""

import numpy as np
import pytest
from PIL import Image

import aigc_jax
from aigc_jax import cli
from aigc_jax.data.digits import digits
from aigc_jax.evaluation.from_samples import checked_samples, read_samples, with_classes
from aigc_jax.report.files import read_report
from aigc_jax.types import UsageError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 1), np.uint8)
LABELS = np.array([0, 1, 1, 0, 1, 0])
NAMES = ("cat", "red things")


def read(path):
    return with_classes(read_samples(path), NAMES, title=path.name)


def write(folder, names):
    for name, image in zip(names, IMAGES, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / name)


@pytest.mark.parametrize("names", [("image", "label"), ("samples", "labels"), ("arr_0", "arr_1")])
def test_read_samples_of_npz_files(tmp_path, names):
    np.savez(tmp_path / "s.npz", **dict(zip(names, (IMAGES, LABELS), strict=True)))
    found = read(tmp_path / "s.npz")
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)


def test_read_samples_numbers_classes_as_the_data_do(tmp_path):
    np.savez(tmp_path / "s.npz", image=IMAGES, label=LABELS, class_names=np.array(NAMES[::-1]))
    np.testing.assert_array_equal(read(tmp_path / "s.npz").labels, 1 - LABELS)


def test_read_samples_of_folders(tmp_path):
    write(tmp_path / "named", [f"{i:05}_{NAMES[label]}.png" for i, label in enumerate(LABELS)])
    found = read(tmp_path / "named")
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)
    write(tmp_path / "parted", [f"{NAMES[label]}/{i}.png" for i, label in enumerate(LABELS)])
    found = read(tmp_path / "parted")
    assert sorted(found.labels) == sorted(LABELS)
    assert {image.tobytes() for image in found.images[found.labels == 1]} == {
        image.tobytes() for image in IMAGES[LABELS == 1]
    }
    write(tmp_path / "plain", [f"{i}.png" for i in range(6)])
    assert read(tmp_path / "plain").labels is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"image": IMAGES[..., 0]}, "expected images"),
        ({"image": IMAGES.astype(np.float32)}, "floats in"),
        ({"other": IMAGES}, "no entry image"),
        ({"image": IMAGES, "label": LABELS[:5]}, "a class for each of 6"),
        ({"image": IMAGES, "label": LABELS + 1}, "has the class 2"),
        ({"image": IMAGES, "label": LABELS, "class_names": np.array(["cat", "dog"])}, "the class 'dog'"),
        ({"image": IMAGES, "label": LABELS + 1, "class_names": np.array(NAMES)}, "its class_names have 2 classes"),
        ({"image": IMAGES, "label": LABELS / 2, "class_names": np.array(NAMES)}, "integers >= 0"),
    ],
)
def test_read_samples_refuses_others_in_one_line(tmp_path, content, words):
    np.savez(tmp_path / "s.npz", **content)
    with pytest.raises(UsageError, match=words) as info:
        read(tmp_path / "s.npz")
    assert "\n" not in str(info.value)


def test_read_samples_opens_png_and_jpeg_files_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)
    (tmp_path / "made").mkdir()
    for name in ("0.png", "1.png"):
        (tmp_path / "made" / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UsageError, match="neither PNG nor JPEG"):
        read_samples(tmp_path / "made")


def test_checked_samples_take_floats_in_range():
    np.testing.assert_array_equal(checked_samples(IMAGES / 127.5 - 1, None).images, IMAGES)


def test_evaluate_arrays_without_classes_measures_copies_and_repetitions():
    real = digits().held_out.take(np.arange(400))["image"]
    train = digits().train.take(np.arange(400))["image"]
    copied = np.where((np.arange(300) % 3 == 0)[:, None, None, None], train[:300], real[:300])
    report = aigc_jax.evaluate_arrays(copied, real[300:], train=train)
    assert report.criterion("not_copied").state == "fail"
    assert report.find("copied_samples").value > 0.3
    assert report.criterion("valid").state is None  # no classes: no classifier, no features
    assert not report.criterion("follows_condition").is_applicable
    assert report.left_out["perturbation"] == "the samples are given, not the model"
    unknown = aigc_jax.evaluate_arrays(copied, real[300:])
    assert unknown.criterion("not_copied").state is None
    assert "--train" in unknown.left_out["copied_samples"]


@pytest.mark.parametrize("part", ["reference", "train"])
def test_evaluate_arrays_refuses_images_of_another_shape(part):
    given = {"reference": IMAGES, "train": IMAGES, part: IMAGES[:, 1:]}
    with pytest.raises(UsageError, match=f"{part}: expected images of shape"):
        aigc_jax.evaluate_arrays(IMAGES, **given)


@pytest.mark.standard_promotion
def test_evaluate_command_takes_a_folder_of_png_files(tmp_path, quick_classifiers, capsys):
    chosen = digits().train.take(np.arange(120))
    for i, (image, label) in enumerate(zip(chosen["image"], chosen["label"], strict=True)):
        path = tmp_path / "made" / f"{i:05}_{label}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    words = ["evaluate", "--samples", str(tmp_path / "made"), "--reference", "digits"]
    assert cli.main([*words, "--train", "digits"]) == 0
    assert capsys.readouterr().out.startswith("NO GO")  # all of them are copies
    report = read_report(tmp_path / "made_report")
    assert report.criterion("not_copied").state == "fail"
    assert report.find("class_agreement") is not None
    assert report.facts["samples"].endswith("120 of [28, 28, 1]")
    assert {"samples checksum", "data checksum", "command", "date", "judges learned from"} <= report.facts.keys()
    capsys.readouterr()
    assert cli.main([*words, "--judge-accuracy", "1.5"]) == 2
    assert "expected --judge-accuracy in [0, 1], got 1.5" in capsys.readouterr().err
    assert cli.main(["evaluate", "--samples", str(tmp_path / "none"), "--reference", "digits"]) == 2
    assert cli.main(["evaluate", "--samples", str(tmp_path / "made")]) == 2
