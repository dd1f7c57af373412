"""The command line: one line and exit status 2 for mistakes; samples, reports and gates for a real run."""

import contextlib
import importlib
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aigc_jax
from aigc_jax import cli
from aigc_jax.configs import gan_digits
from aigc_jax.worlds import catalog
from tests.runs import COMMON, TINY

cli_main = importlib.import_module("aigc_jax.cli.main")
pytestmark = pytest.mark.standard_promotion


@pytest.fixture
def run(trained_run):
    return trained_run("gan_digits")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bogus"], "bogus"),
        (["trian"], "did you mean train?"),
        (["sample-s"], "did you mean sample?"),
        (["train", "gan_digits", "--lr", "1e-4"], "no option --lr (did you mean --generator.learning-rate or --disc"),
        (["train", "vae_digits", "--epochs", "3"], "no option --epochs (did you mean --steps?)"),
        (["train", "gan_digits", "more"], "the word 'more'"),
        (["info", "--all"], "no option --all; see aigc-jax info --help"),
        (["completion", "fish"], "bash"),
        (["train"], "gan_digits"),
        (["train", "gan_digit"], "did you mean gan_digits?"),
        (["train", "missing.py"], "missing.py"),
        (["train", "gan_digits", "--stepz", "3"], "--steps"),
        (["train", "gan_digits", "--steps", "many"], "aigc-jax: Error parsing --steps: invalid literal"),
        (["train", "gan_digits", "--steps", "0"], "--steps"),
        (["train", "gan_digits", "--data", "digit"], "digits"),
        (["train", "gan_digits", "--num-classes", "7"], "--num-classes"),
        (["train", "gan_digits", "--image-shape", "32", "32", "3"], "--image-shape"),
        (["train", "gan_mnist", "--data-dir", "nowhere"], "aigc-jax data prepare tfds:mnist --data-dir nowhere"),
        (["train", "gan_digits", "--discriminator.r1-every", "0"], "every"),
        (["train", "gan_digits", "--discriminator.r1-gamma", "-1"], "r1"),
        (["train", "gan_mnist", "--data", "digits", "--smoothing", "2"], "smoothing"),
        (["train", "wgan_gp_mnist", "--data", "digits", "--n-critic", "0"], "--n-critic"),
        (["train", "gan_digits", "--num-microbatches", "7"], "--num-microbatches"),
        (
            ["train", "sngan_cifar10", "--data", "digits", "--image-shape", "28", "28", "1"],
            "pass --image-shape 32 32 1",
        ),
        (["train", "gan_digits", "--generator.width", "2"], "multiple of 4"),
        (["train", "gan_digits", "--generator.learning-rate", "-1"], "--generator.learning-rate"),
        (["train", "gan_digits", "--discriminator.widths", "0"], "--discriminator.widths"),
        (["train", "gan_digits", "--batch-size", "5000"], "--batch-size"),
        (["train", "gan_digits", "--workdir", "run [v2]", *TINY["gan_digits"].split()], "without ["),
        (["train", "gan_digits", "--workdir", "n" * 300, *TINY["gan_digits"].split()], "File name too long"),
        (["train", "gan_digits", "--ema-decay", "2"], "--ema-decay"),
        (["sample", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["data"], "data list"),
    ],
)
def test_mistakes_are_one_line_and_status_2(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert expected in error
    assert not list(tmp_path.iterdir()), "nothing half-written"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--condition", "10"], "one of 0, 1, 2"),
        (["--condition", "-1"], "one of 0, 1, 2"),
        (["--num", "0"], "--num"),
        (["--seed", "-1"], "--seed"),
        (["--out", "samples.gif"], ".npz"),
        (["--checkpoint", "7"], "2"),
        (["--checkpoint", "newest"], "latest"),
    ],
)
def test_sample_refuses_bad_options(run, words, expected, capsys):
    assert cli.main(["sample", str(run), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert expected in error


def test_samples_do_not_depend_on_how_many_are_drawn(run, tmp_path):
    for num in (20, 70, 130):
        assert cli.main(["sample", str(run), "--num", str(num), "--out", str(tmp_path / f"{num}.npz")]) == 0
    few, some, many = (np.load(tmp_path / f"{num}.npz") for num in (20, 70, 130))
    assert many["image"].shape == (130, 28, 28, 1)
    assert many["image"].dtype == np.uint8
    assert many["label"].dtype == np.int32
    np.testing.assert_array_equal(few["image"], some["image"][:20])
    np.testing.assert_array_equal(some["image"], many["image"][:70])
    assert len(np.unique(many["image"].reshape(130, -1), axis=0)) == 130


def test_condition_and_seed_matter(run, tmp_path):
    for name, words in {"a": ["--seed", "1"], "b": ["--seed", "2"], "c": ["--seed", "1", "--condition", "3"]}.items():
        assert cli.main(["sample", str(run), "--num", "4", "--out", str(tmp_path / f"{name}.npz"), *words]) == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz") for name in "abc")
    assert (a["image"] != b["image"]).any()
    assert c["label"].tolist() == [3] * 4
    np.testing.assert_array_equal(a["image"][3], c["image"][3])  # same seed, index and condition


def test_grid_is_a_picture(run):
    assert cli.main(["sample", str(run), "--num", "30"]) == 0
    with Image.open(run / "samples" / "sample_step2_seed0_num30.png") as image:
        assert image.size[0] > 3 * 28


def test_evaluate_writes_a_report_and_checks_gates(run, quick_classifiers, tmp_path, capsys):
    (tmp_path / "gates.toml").write_text("[class_agreement]\nmin = 0.999\n")
    words = ["evaluate", str(run), "--num-samples", "40", "--sweep-samples", "8", "--cas"]
    assert cli.main(words) == 0
    assert "class agreement" in capsys.readouterr().out
    report = json.loads((run / "report" / "report.json").read_text())
    names = {row["name"] for row in report["measurements"]}
    assert {"class_agreement", "worst_class", "frechet_distance", "accuracy_from_samples"} <= names
    assert "second_opinion" in names
    figures = {figure["name"] for figure in report["figures"]}
    assert {"adherence", "per_class", "repeats", "paired_noise"} <= figures
    assert {"nearest_strip", "truncation_sweep", "worst"} <= figures
    assert report["left_out"]["reconstruction_ssim"] == "the model has no encoder"
    per_sample = np.load(run / "report" / "per_sample.npz")
    assert per_sample["observed"].shape == per_sample["second"].shape == (40,)
    assert "<html" in (run / "report" / "index.html").read_text()
    # The classifiers are trained once; the second evaluation finds them.
    trained = sorted(quick_classifiers.glob("*/metrics.jsonl"))
    before = [path.stat().st_mtime_ns for path in trained]
    assert len(before) == 2
    assert cli.main([*words, "--gate", str(tmp_path / "gates.toml"), "--single-judge"]) == 1
    assert "class_agreement" in capsys.readouterr().err
    assert "--single-judge" in json.loads((run / "report" / "report.json").read_text())["left_out"]["second_opinion"]
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert cli.main(["compare", str(run), str(run), "--out", str(tmp_path / "both.html")]) == 0
    assert "Paired differences" in capsys.readouterr().out
    assert "<html" in (tmp_path / "both.html").read_text()


@pytest.mark.slow
def test_a_config_file_trains_but_its_run_executes_nothing_by_itself(tmp_path, capsys):
    source = Path(gan_digits.__file__).read_text()
    (tmp_path / "mine.py").write_text(source)
    config, run = str(tmp_path / "mine.py"), str(tmp_path / "run of;mine")
    assert cli.main(["train", config, "--workdir", run, *COMMON, *TINY["gan_digits"].split()]) == 0
    assert f"next: aigc-jax evaluate '{run}' --config {config}\n" in capsys.readouterr().out
    assert cli.main(["sample", run, "--num", "2"]) == 2
    assert "--config" in capsys.readouterr().err
    assert cli.main(["sample", run, "--num", "2", "--config", config]) == 0


def test_complete_run_says_so_and_other_settings_are_refused(trained_runs, capsys):
    trained_runs("gan_digits")
    words = trained_runs.words("gan_digits")
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "complete at step 2: to go on, pass for example --steps 4 --schedule-steps 2" in out
    assert cli.main([*words, "--steps", "4"]) == 2
    assert "add --schedule-steps 2 to keep them" in capsys.readouterr().err
    assert cli.main([*words, "--ema-decay", "0.5"]) == 2
    assert "ema_decay" in capsys.readouterr().err


def test_info_and_data_list(capsys, tmp_path):
    assert cli.main(["info"]) == 0
    assert cli.main(["data", "list", "--data-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "jax " in out
    assert "digits" in out


def test_data_list_builds_no_world(capsys, tmp_path, monkeypatch):
    for name in catalog.WORLDS:
        monkeypatch.setitem(catalog.WORLDS, name, lambda: 1 / 0)
    assert cli.main(["data", "list", "--data-dir", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert {f"world:{name}" for name in catalog.WORLDS} < set(lines)
    for text in ("24", "32 x 32 x 1", "train 5000, held out 1000", "four by four grids"):
        assert text in lines["world:sudoku"]
    assert "2-D" in lines["world:ring8"]


@pytest.mark.slow
def test_evaluation_during_training_picks_the_best_checkpoint(tmp_path):
    words = ["train", "classifier_digits", "--workdir", str(tmp_path / "run"), "--steps", "4", "--batch-size", "8"]
    words += ["--widths", "4", "--num-features", "8", "--eval-every", "2", "--best-metric", "eval/is_correct"]
    assert cli.main(words) == 0
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0.0 <= last["metrics"]["eval/is_correct"] <= 1.0


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(words, capsys):
    assert cli.main(words) == 0
    assert capsys.readouterr().out == cli_main.USAGE


def test_version_and_help_of_commands_are_printed(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"aigc-jax {aigc_jax.__version__}\n"
    assert cli.main(["data", "--help"]) == 0
    assert "data prepare" in capsys.readouterr().out
    for words in (["help", "compare"], ["compare", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            cli.main(words)
        assert "usage: aigc-jax compare" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("aigc-jax sa", {"sample"}),
        ("aigc-jax data p", {"prepare"}),
        ("aigc-jax launch local --num", {"--num-processes"}),
        ("aigc-jax train gan_", {"gan_digits", "gan_mnist"}),
        ("aigc-jax train gan_digits --generator.w", {"--generator.width"}),
        ("aigc-jax sample run --che", {"--checkpoint"}),
        ("aigc-jax sample ru", set()),
        ("aigc-jax help eval", {"evaluate"}),
    ],
)
def test_completion_script_completes_in_bash(line, expected, completion_script):
    words = line.split()
    code = f"{completion_script}\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _aigc_jax\n"
    code += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash"], input=code, capture_output=True, text=True, check=True)  # too long for an argument
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""


@pytest.fixture(scope="module")
def completion_script():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["completion", "bash"]) == 0
    return out.getvalue()


def test_completion_in_zsh_is_that_of_bash(completion_script, capsys):
    assert cli.main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == f"autoload -U +X bashcompinit && bashcompinit\n{completion_script}"
