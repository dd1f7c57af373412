"""A modality that the library has never heard of goes through every command: nothing else knows what an example is."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.report.files import read_report
from aigc_jax.runs import load_run

pytestmark = pytest.mark.standard_promotion

CONFIG = str(Path(__file__).parent / "sequences.py")
COMMON = ["--batch-size", "8", "--log-every", "2", "--sample-every", "2", "--checkpoint-every", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four steps, stopped after two and resumed."""
    folder = tmp_path_factory.mktemp("sequences") / "run"
    for steps in ("2", "4"):
        assert cli.main(["train", CONFIG, "--workdir", str(folder), "--steps", steps, *COMMON]) == 0
    return folder


@pytest.mark.slow
def test_training_of_a_modality_resumes_bitwise_and_shows_lines(run, tmp_path):
    assert cli.main(["train", CONFIG, "--workdir", str(tmp_path / "whole"), "--steps", "4", *COMMON]) == 0
    halves, whole = (load_run(folder, config_file=Path(CONFIG))[2] for folder in (run, tmp_path / "whole"))
    jax.tree.map(np.testing.assert_array_equal, halves, whole)
    shown = (run / "samples" / "step_00000004.txt").read_text().splitlines()
    assert len(shown) == 6
    assert all(len(line.split()) == 7 for line in shown)


def test_samples_of_a_modality_are_written_by_its_writers(run, tmp_path, capsys):
    command = ["sample", str(run), "--config", CONFIG, "--num", "5"]
    for name in ("a.txt", "a.npz"):
        assert cli.main([*command, "--out", str(tmp_path / name)]) == 0
    with np.load(tmp_path / "a.npz") as saved:
        assert list(saved) == ["tokens"]
        tokens = saved["tokens"]
    assert (tokens.shape, tokens.dtype) == ((5, 7), np.int32)
    assert tokens.min() >= 0
    assert tokens.max() < 5
    read = [list(map(int, line.split())) for line in (tmp_path / "a.txt").read_text().splitlines()]
    np.testing.assert_array_equal(read, tokens)
    assert cli.main([*command, "--out", str(tmp_path / "a.png")]) == 2
    assert ".txt, .npz" in capsys.readouterr().err


@pytest.mark.slow
def test_sampling_options_are_those_of_the_config_of_the_run(run, tmp_path, capsys):
    command = ["sample", str(run), "--config", CONFIG, "--num", "200"]
    drawn = {}
    for words in ((), ("--top-k", "3"), ("--top-k", "1"), ("--temperature", "1e-4")):
        assert cli.main([*command, *words, "--out", str(tmp_path / "a.npz")]) == 0
        with np.load(tmp_path / "a.npz") as saved:
            drawn[words] = saved["tokens"]
    assert (drawn[()] != drawn["--top-k", "3"]).any()
    # Two ways to write: always the most likely token.
    np.testing.assert_array_equal(drawn["--top-k", "1"], drawn["--temperature", "1e-4"])
    assert (drawn[()] != drawn["--top-k", "1"]).any()
    assert cli.main([*command, "--top-k", "3"]) == 0
    assert [file.name for file in run.glob("samples/sample_*")] == ["sample_step4_seed0_num200_top_k3.txt"]
    capsys.readouterr()
    for words in (["sample", "--guidance", "2"], ["evaluate", "--guidance", "2"], ["edit", "--guidance", "2"]):
        assert cli.main([words[0], str(run), "--config", CONFIG, *words[1:]]) == 2
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        assert "no option --guidance" in line
        assert ": the sampling settings of this run are --num-steps --temperature --top-k" in line


@pytest.mark.slow
def test_modality_without_labels_and_judge_is_evaluated_and_reported(run):
    options = ["--num-samples", "60", "--sweep-samples", "0", "--detector-samples", "20", "--temperature", "0.5"]
    assert cli.main(["evaluate", str(run), "--config", CONFIG, *options]) == 0
    report = read_report(run)
    assert report.facts["sampling temperature"] == "0.5"
    assert "--temperature 0.5" in report.facts["command"]
    assert {row.name for row in report.measurements} >= {"repeatability"}
    assert all(reason for reason in report.left_out.values())
    assert "no judge" in " ".join(report.left_out.values()) or "judge" in json.dumps(report.left_out)
    assert (run / "report" / "index.html").stat().st_size > 1000


def test_likelihood_of_a_modality_is_measured(run, capsys):
    assert cli.main(["likelihood", str(run), "--config", CONFIG, "--num-examples", "20"]) == 0
    assert "perplexity" in capsys.readouterr().out
