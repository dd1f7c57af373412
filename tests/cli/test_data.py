"""What becomes of a run whose data are moved, renamed or changed."""

import json
import shutil

import pytest
from PIL import Image

from aigc_jax import cli
from tests.test_configs import COMMON, TINY

FEW = ["--num-examples", "2", "--batch-size", "2", "--num-importance-samples", "2"]
pytestmark = pytest.mark.standard_promotion
FOLDER = ["--data", "folder:pics", "--num-classes", "2", "--image-shape", "28", "28", "1", "--batch-size", "8"]


def train(*more):
    return cli.main(["train", "vae_digits", *COMMON, *TINY["vae_digits"], "--sample-every", "0", *more])


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
    assert train("--workdir", "run", *FOLDER, "--steps", "4") == 2
    assert "class 0 was 'apple', is 'pear'" in error(capsys)
    for command in ("latents", "likelihood", "evaluate"):
        assert cli.main([command, "run"]) == 2
        assert "class 0 was 'apple', is 'pear'" in error(capsys)


def test_training_goes_on_where_the_folder_was_moved(root, monkeypatch, capsys):
    at(root, root / "run")
    (root / "pics").rename(root / "moved")
    monkeypatch.chdir(root)
    assert train("--workdir", "run", *FOLDER, "--steps", "4", "--data", f"folder:{root / 'moved'}") == 0
    assert "to step 4" in capsys.readouterr().out
    assert json.loads((root / "run" / "data.json").read_text())["data"] == f"folder:{root / 'moved'}"
