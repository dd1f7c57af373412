"""The command line on points of a world: trained, sampled, judged and found likely like pictures are."""

import json

import jax
import numpy as np
import pytest

from aigc_jax import cli

TINY = ["--widths", "8", "--sampling.num-steps", "2", "--likelihood.num-steps", "2"]
COMMON = ["--steps", "2", "--batch-size", "8", "--log-every", "1", "--parallel", "jit", "--sample-every", "0"]


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # optax.adam mixes dtypes
        yield


@pytest.fixture(scope="module", params=[[], ["--num-classes", "8"]], ids=["unconditional", "conditional"])
def run(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "run"
    evaluated = ["--eval-every", "2", "--best-metric", "eval/valid_samples"] if request.param else []
    with jax.numpy_dtype_promotion("standard"):
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
    assert cli.main(["evaluate", str(run), "--num-samples", "70", "--gate", str(gate)]) == 1
    assert "valid_samples" in capsys.readouterr().err
    report = json.loads((run / "report" / "report.json").read_text())
    names = [row["name"] for row in report["measurements"] if row["name"] != "class_agreement"]
    assert names == ["valid_samples", "modes_covered", "log_prob"]
    assert report["data"] == "world:ring8"
    assert len(report["per_class"]) == 8


def test_likelihood_is_in_nats(run, capsys):
    assert cli.main(["likelihood", str(run), "--num-examples", "8"]) == 0
    assert "nats per example" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "world:mars"], "world:ring8, world:grid25"),
        (["--data", "digits"], "world:ring8, world:grid25"),
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
