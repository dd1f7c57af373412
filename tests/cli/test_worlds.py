"""The command line on points of a world: trained, sampled, judged and found likely like pictures are."""

import json

import numpy as np
import pytest

from aigc_jax import cli

pytestmark = pytest.mark.standard_promotion


@pytest.fixture(params=["flow_2d", "ring8"], ids=["unconditional", "conditional"])
def run(request, trained_run):
    return trained_run(request.param)


def test_samples_are_points(run):
    assert cli.main(["sample", str(run), "--num", "5", "--out", str(run / "five.npz")]) == 0
    saved = np.load(run / "five.npz")
    assert (saved["point"].shape, saved["point"].dtype) == ((5, 2), np.float32)
    assert ("label" in saved) == ('num_classes": 8' in (run / "config.json").read_text())
    assert cli.main(["sample", str(run), "--num", "5"]) == 0
    assert (run / "samples" / "sample_step2_seed0_num5.png").stat().st_size > 500


def test_evaluate_of_a_world_judges_exactly_and_checks_gates(run, capsys, tmp_path):
    gate = tmp_path / "gate.toml"
    gate.write_text("[valid_samples]\nmin = 0.99\n")
    few = ["--num-samples", "70", "--detector-samples", "40", "--sweep-samples", "0"]
    assert cli.main(["evaluate", str(run), *few, "--gate", str(gate)]) == 1
    assert "valid_samples" in capsys.readouterr().err
    report = json.loads((run / "report" / "report.json").read_text())
    assert {"valid_samples", "modes_covered", "log_prob"} <= {row["name"] for row in report["measurements"]}
    assert report["data"] == "world:ring8"
    assert "judges learned from" not in report["facts"]  # a world has learned nothing
    assert report["left_out"]["reconstruction_ssim"] == "the examples are no images"
    (valid,) = [criterion for criterion in report["criteria"] if criterion["name"] == "valid"]
    assert [target["state"] for target in valid["targets"]] == ["missed"]
    assert "violations" in {figure["name"] for figure in report["figures"]}


def test_likelihood_is_in_nats(run, capsys):
    assert cli.main(["likelihood", str(run), "--num-examples", "8"]) == 0
    assert "nats per example" in capsys.readouterr().out


@pytest.mark.one_case
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
    ("name", "shape", "is_conditional"), [("factors", (32, 32, 3), True), ("sums", (28, 28, 1), False)]
)
def test_sample_draws_images_like_those_of_a_world(name, shape, is_conditional, trained_run, tmp_path):
    assert cli.main(["sample", str(trained_run(name)), "--num", "3", "--out", str(tmp_path / "three.npz")]) == 0
    saved = np.load(tmp_path / "three.npz")
    assert (saved["image"].shape, saved["image"].dtype) == ((3, *shape), np.uint8)
    assert ("label" in saved) == is_conditional


def test_sample_draws_points_of_any_dimension(trained_run, tmp_path):
    run = trained_run("mixture16")
    assert cli.main(["sample", str(run), "--num", "5", "--out", str(tmp_path / "five.npz")]) == 0
    assert np.load(tmp_path / "five.npz")["point"].shape == (5, 16)


def test_worlds_are_listed(capsys):
    assert cli.main(["data", "list", "--data-dir", "no/such/folder"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "64 x 64 x 1" in lines["world:shapes"]
    assert "train 50000, held out 10000" in lines["world:line3"]
