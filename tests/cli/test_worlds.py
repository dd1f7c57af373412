"""The command line on points of a world: trained, sampled, judged and found likely like pictures are."""

import json

import numpy as np
import pytest

from aigc_jax import cli

TINY = ["--widths", "8", "--sampling.num-steps", "2", "--likelihood.num-steps", "2"]
COMMON = ["--steps", "2", "--batch-size", "8", "--log-every", "1", "--parallel", "jit", "--sample-every", "0"]


pytestmark = pytest.mark.standard_promotion


@pytest.fixture(scope="module", params=[[], ["--num-classes", "8"]], ids=["unconditional", "conditional"])
def run(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "run"
    evaluated = ["--eval-every", "2", "--best-metric", "eval/valid_samples"] if request.param else []
    words = ["train", "flow_2d", "--workdir", str(path), *COMMON, *TINY, *request.param, *evaluated]
    assert cli.main(words) == 0
    return path


def test_samples_are_points(run):
    assert cli.main(["sample", str(run), "--num", "5", "--out", str(run / "five.npz")]) == 0
    saved = np.load(run / "five.npz")
    assert (saved["point"].shape, saved["point"].dtype) == ((5, 2), np.float32)
    assert ("label" in saved) == ('num_classes": 8' in (run / "config.json").read_text())
    assert cli.main(["sample", str(run), "--num", "5"]) == 0
    assert [path.suffix for path in (run / "samples").iterdir()] == [".png"]


def test_the_world_judges_and_gates_hold_to_its_word(run, capsys, tmp_path):
    gate = tmp_path / "gate.toml"
    gate.write_text("[valid_samples]\nmin = 0.99\n")
    few = ["--num-samples", "70", "--detector-samples", "40", "--sweep-samples", "0"]
    assert cli.main(["evaluate", str(run), *few, "--gate", str(gate)]) == 1
    assert "valid_samples" in capsys.readouterr().err
    report = json.loads((run / "report" / "report.json").read_text())
    assert {"valid_samples", "modes_covered", "log_prob"} <= {row["name"] for row in report["measurements"]}
    assert report["data"] == "world:ring8"
    assert report["left_out"]["reconstruction_ssim"] == "the examples are no images"
    (valid,) = [criterion for criterion in report["criteria"] if criterion["name"] == "valid"]
    assert [target["state"] for target in valid["targets"]] == ["missed"]
    assert "violations" in {figure["name"] for figure in report["figures"]}


def test_likelihood_is_in_nats(run, capsys):
    assert cli.main(["likelihood", str(run), "--num-examples", "8"]) == 0
    assert "nats per example" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "world:mars"], "world:ring8, world:grid25"),
        (["--data", "digits"], "world:ring8, world:grid25"),
        (["--data", "world:shapes"], "--data world:ring8"),
        (["--num-classes", "3"], "--num-classes 8"),
        (["--sampling.guidance", "2"], "conditional"),
    ],
)
def test_mistakes_are_one_line(words, expected, capsys, tmp_path):
    assert cli.main(["train", "flow_2d", "--workdir", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert expected in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "world:mars"], "world:shapes, world:dots"),
        (["--data", "world:ring8"], "--data world:shapes"),
        (["--data", "world:shapes"], "pass --image-shape 64 64 1 --num-classes 7 (or None)"),
        (["--data", "world:sums"], "pass --image-shape 28 28 1 --num-classes 19 (or None)"),
        (["--data", "world:dots", "--num-classes", "None"], "--image-shape 32 32 1"),
    ],
)
def test_images_of_a_world_must_fit_the_model(words, expected, capsys, tmp_path):
    assert cli.main(["train", "vae_digits", "--workdir", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert expected in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "shape", "is_conditional"),
    [
        (["world:factors", "--image-shape", "32", "32", "3", "--num-classes", "72"], (32, 32, 3), True),
        (["world:sums", "--num-classes", "None"], (28, 28, 1), False),
    ],
)
def test_images_of_a_world_are_data(words, shape, is_conditional, tmp_path, monkeypatch):
    monkeypatch.setattr("aigc_jax.train.worlds.NUM_IMAGES", (1000, 1000))
    run = tmp_path / "run"
    assert cli.main(["train", "vae_digits", "--workdir", str(run), *COMMON, "--widths", "8", "--data", *words]) == 0
    assert cli.main(["sample", str(run), "--num", "3", "--out", str(tmp_path / "three.npz")]) == 0
    saved = np.load(tmp_path / "three.npz")
    assert (saved["image"].shape, saved["image"].dtype) == ((3, *shape), np.uint8)
    assert ("label" in saved) == is_conditional


@pytest.mark.parametrize(("name", "num_channels"), [("line3", 1), ("mixture16", 16)])
def test_points_of_any_dimension_are_data(name, num_channels, tmp_path):
    words = ["train", "flow_2d", "--workdir", str(tmp_path / "run"), *COMMON, *TINY, "--data", f"world:{name}"]
    assert cli.main(words) == 0
    assert cli.main(["sample", str(tmp_path / "run"), "--num", "5", "--out", str(tmp_path / "five.npz")]) == 0
    assert np.load(tmp_path / "five.npz")["point"].shape == (5, num_channels)


def test_worlds_are_listed(capsys):
    assert cli.main(["data", "list", "--data-dir", "no/such/folder"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "64 x 64 x 1" in lines["world:shapes"]
    assert "train 50000, held out 10000" in lines["world:line3"]
