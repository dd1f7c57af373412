"""Data by the command line: moved, renamed and changed folders, classes by their names, samples as files."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.cli import common
from aigc_jax.data import images
from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.images import make_grid
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.data_record import read_record, record_data, with_class_names
from aigc_jax.types import Conditions, Data, Experiment, UsageError
from tests.runs import COMMON, TINY

FEW = ["--num-examples", "2", "--batch-size", "2", "--num-importance-samples", "2"]
pytestmark = pytest.mark.standard_promotion
FOLDER = ["--data", "folder:pics", "--num-classes", "2", "--image-shape", "28", "28", "1", "--batch-size", "8"]


def train(*more):
    return cli.main(["train", "vae_digits", *COMMON, *TINY["vae_digits"].split(), "--sample-every", "0", *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder, named relative to the directory that it was trained from."""
    root = tmp_path_factory.mktemp("data")
    for label, name in enumerate(["apple", "pear"]):
        (root / "pics" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (28, 28), 100 * label + number).save(root / "pics" / name / f"{number}.png")
        (root / "pics" / name / "0.webp").write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert train("--workdir", "run", *FOLDER) == 0
    return root


@pytest.fixture
def root(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def at(root, run):
    """A run whose record is that of a run trained in ``root``."""
    file = run / "data.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "data": f"folder:{root / 'pics'}"}))


def error(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("aigc-jax: ")]
    return line


@pytest.mark.slow
def test_training_tells_what_it_opened(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert train("--workdir", "other", *FOLDER) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line == (
        "data folder:pics: 22 train, 2 held out, 2 classes (0 apple (11), 1 pear (11)); centre-cropped and resized to "
        "28 x 28 x 1, transparent pixels on white; passed over: 2 .webp"
    )
    record = json.loads((root / "other" / "data.json").read_text())
    assert record["data"] == f"folder:{root / 'pics'}"
    assert record["fingerprint"]["class_names"] == ["apple", "pear"]


def test_data_are_found_from_another_directory(root, monkeypatch):
    at(root, root / "run")
    monkeypatch.chdir("/")
    assert cli.main(["likelihood", str(root / "run"), *FEW]) == 0


@pytest.mark.slow
def test_moved_data_are_asked_for_and_named(root, monkeypatch, capsys):
    at(root, root / "run")
    (root / "pics").rename(root / "moved")
    monkeypatch.chdir("/")
    assert cli.main(["likelihood", str(root / "run"), *FEW]) == 2
    assert "--data folder:DIR" in error(capsys)
    assert cli.main(["likelihood", str(root / "run"), *FEW, "--data", f"folder:{root / 'moved'}"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_renamed_class_stops_training_and_measuring(root, monkeypatch, capsys):
    at(root, root / "run")
    (root / "pics" / "apple").rename(root / "pics" / "zapple")
    monkeypatch.chdir(root)
    assert train("--workdir", "run", *FOLDER, "--steps", "4", "--schedule-steps", "2") == 2
    assert "class 0 was 'apple', is 'pear'" in error(capsys)
    for command in ("latents", "likelihood", "evaluate"):
        assert cli.main([command, "run"]) == 2
        assert "class 0 was 'apple', is 'pear'" in error(capsys)


def test_training_goes_on_where_the_folder_was_moved(root, monkeypatch, capsys):
    at(root, root / "run")
    (root / "pics").rename(root / "moved")
    monkeypatch.chdir(root)
    assert (
        train(
            "--workdir", "run", *FOLDER, "--steps", "4", "--schedule-steps", "2", "--data", f"folder:{root / 'moved'}"
        )
        == 0
    )
    assert "to step 4" in capsys.readouterr().out
    assert json.loads((root / "run" / "data.json").read_text())["data"] == f"folder:{root / 'moved'}"


def test_names_of_strangers_are_one_printable_line(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    (root / "pics" / "pear\n\x1b[2J").mkdir()
    (root / "pics" / "pear\n\x1b[2J" / "a\x1b[31m.png").write_bytes(b"")
    assert train("--workdir", "other", *FOLDER) == 2
    assert error(capsys).isprintable()
    assert cli.main(["sample", "run\n\x1b[2J"]) == 2
    assert r"run\n\x1b[2J" in error(capsys)


def test_any_terminal_can_show_any_path(root, monkeypatch):
    monkeypatch.chdir(root)
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding="ascii", write_through=True))
    assert cli.main(["sample", "run", "--num", "1", "--out", os.fsdecode(b"gr\xfcn.npz")]) == 0
    assert b"gr\\udcfcn.npz" in content.getvalue()
    assert os.path.exists(os.fsencode(root) + b"/gr\xfcn.npz")


def sampled(root, *words):
    assert cli.main(["sample", "run", "--num", "4", "--out", "a.npz", *words]) == 0
    with np.load(root / "a.npz") as file:
        return dict(file)


def test_classes_are_asked_for_by_name(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    (root / "pics").rename(root / "gone")  # the names are in the run
    pears, second = sampled(root, "--condition", "pear"), sampled(root, "--condition", "1")
    assert pears["label"].tolist() == [1] * 4
    assert pears["class_names"].tolist() == ["apple", "pear"]
    np.testing.assert_array_equal(pears["image"], second["image"])
    assert "class 1 (pear)" in capsys.readouterr().out
    assert cli.main(["sample", "run", "--condition", "peer"]) == 2
    assert "--condition pear" in error(capsys)


def test_rows_of_pictures_are_called_by_their_class(root, monkeypatch):
    monkeypatch.chdir(root)
    seen = []
    monkeypatch.setattr(images, "make_grid", lambda *args, row_labels: seen.append(row_labels) or make_grid(*args))
    assert cli.main(["sample", "run", "--num", "4"]) == 0
    assert seen == [["apple", "pear"]]


def test_pictures_drawn_in_different_ways_have_different_names(root, monkeypatch):
    monkeypatch.chdir(root)
    ways = [[], ["--condition", "pear"], ["--condition", "apple"], ["--seed", "1"], ["--num", "5"]]
    for words in ways:
        assert cli.main(["sample", "run", "--num", "4", *words]) == 0
    assert len(list((root / "run" / "samples").iterdir())) == len(ways)
    assert (root / "run" / "samples" / "sample_step2_seed0_num4_class1-pear.png").exists()


def test_large_pictures_are_refused_and_folders_written(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert cli.main(["sample", "run", "--num", "1001"]) == 2
    assert "--out samples" in error(capsys)
    whole = sampled(root, "--num", "100")["image"]
    monkeypatch.setattr("aigc_jax.cli.sample.BLOCK", 64)
    np.testing.assert_array_equal(sampled(root, "--num", "100")["image"], whole)
    assert cli.main(["sample", "run", "--num", "100", "--out", "drawn/"]) == 0
    files = sorted((root / "drawn").iterdir())
    assert files[1].name == "00001_pear.png"
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), whole[..., 0])


@pytest.mark.parametrize(
    ("names", "condition", "number"),
    [
        (["1", "2", "10"], "10", 2),
        (["1", "2", "10"], "0", None),
        (["cat", "2"], "2", 1),
        (["cat", "2"], "0", 0),
        (["cat", "dog"], "2", None),
        (["cat", "dog"], "-1", None),
        (["cat", "dog"], "²", None),
        (["cat", "dog"], None, None),
    ],
)
def test_names_of_classes_come_before_numbers(tmp_path, names, condition, number):
    train = ArraySource(np.zeros((4, 2, 2, 1), np.uint8), np.arange(4) % len(names))
    record_data(tmp_path, TrainConfig(), Data("x", train, train, names), is_resumed=False)
    free = Experiment(None, None, {}, images.IMAGE)
    experiment = with_class_names(
        free._replace(conditions=Conditions([str(i) for i in range(len(names))])),
        read_record(tmp_path).fingerprint.class_names,
    )
    if number is None and condition is not None:
        with pytest.raises(UsageError, match="one of"):
            common.condition_number(experiment, condition)
    else:
        assert common.condition_number(experiment, condition) == number
    with pytest.raises(UsageError, match="unconditional"):
        common.condition_number(free, "cat")
