"""``aigc-jax calibrate`` and ``sample --guard``: from labels to samples with a guarantee, and bad input in one line."""

import json

import numpy as np
import pytest

from aigc_jax import cli

pytestmark = pytest.mark.standard_promotion
NUM = 400


def run_cli(command, run, *words):
    return cli.main([command, str(run), *map(str, words)])


def points(run, folder, *words):
    out = folder / "drawn.npz"
    assert run_cli("sample", run, "--out", out, *words) == 0
    return np.load(out)["point"]


@pytest.fixture
def run(trained_run):
    return trained_run("mixture16")


@pytest.fixture
def labels(run, tmp_path):
    """Labels of samples of seed 7: the tenth that is farthest from the origin is unreliable."""
    radius = np.linalg.norm(points(run, tmp_path, "--seed", 7, "--num", NUM), axis=1)
    is_far = radius > np.quantile(radius, 0.9)
    path = tmp_path / "labels.csv"
    path.write_text("id,unreliable\n" + "".join(f"{i},{int(is_far[i])}\n" for i in range(NUM)))
    return path, np.quantile(radius, 0.9)


def test_guarded_samples_are_the_first_that_pass(run, labels, tmp_path, capsys):
    path, limit = labels
    calibrate = ["--judge", path, "--seed", 7, "--risk", 0.05]
    assert run_cli("calibrate", run, *calibrate) == 0
    printed = capsys.readouterr().out
    assert "40 of 400 are samples that labels.csv marks: 10.00%" in printed
    assert "with probability 95 % over the 400 labelled samples, at most 5 % of those that pass" in printed
    record = json.loads((run / "guard.json").read_text())
    assert (record["config"], record["checkpoint"], record["seed"], record["judge"]) == (
        "flow_2d",
        "2",
        7,
        "labels.csv",
    )
    assert record["sampling"]["num_steps"] == 2
    assert record["quantiles"] == sorted(record["quantiles"])
    assert len(record["quantiles"]) == NUM

    plain = points(run, tmp_path, "--num", 256)
    capsys.readouterr()
    kept = points(run, tmp_path, "--num", 150, "--guard")
    printed = capsys.readouterr()
    assert "192 candidates pass the guard" in printed.out
    assert "no sign that the scores" in printed.out
    assert "warning" not in printed.err
    # Each kept one is a sample of the run, in order, and few of the far ones are among them.
    places = [int(np.flatnonzero((plain == each).all(axis=1))[0]) for each in kept]
    assert places == sorted(places)
    assert len(set(places)) == 150
    rate = np.mean(np.linalg.norm(kept, axis=1) > limit)
    assert rate < np.mean(np.linalg.norm(plain, axis=1) > limit) / 2
    # The first of them do not depend on how many are asked for.
    np.testing.assert_array_equal(points(run, tmp_path, "--num", 20, "--guard"), kept[:20])
    # The same labels, the same guard.
    before = (run / "guard.json").read_text()
    assert run_cli("calibrate", run, *calibrate) == 0
    assert (run / "guard.json").read_text() == before
    assert run_cli("calibrate", run, *calibrate, "--detector", record["detector"], "--out", tmp_path / "b.json") == 0
    assert json.loads((tmp_path / "b.json").read_text()) == record

    capsys.readouterr()
    points(run, tmp_path, "--num", 20, "--guard", run / "guard.json", tmp_path / "b.json")
    printed = capsys.readouterr().out
    # Every sample that passes one passes the other: only the doubt about that share is added.
    assert "with probability 89 % at most 13 % of those that pass all" in printed  # 2 x 5 % over beta.ppf(0.005, 20, 1)
    assert "(union bound)" in printed


def test_grades_between_are_controlled_in_expectation(run, labels, tmp_path, capsys):
    radius = np.linalg.norm(points(run, tmp_path, "--seed", 7, "--num", NUM), axis=1)
    grades = np.clip((radius - np.median(radius)) / 2, 0, 1)
    labels[0].write_text("".join(f"{i},{each:.4f}\n" for i, each in enumerate(grades)))
    assert run_cli("calibrate", run, "--judge", labels[0], "--seed", 7, "--risk", 0.05) == 0
    printed = capsys.readouterr().out
    assert f"mean grade of 400 samples by labels.csv: {grades.mean():.3g}" in printed
    record = json.loads((run / "guard.json").read_text())
    assert "conformal" in record["rests_on"]
    kept = points(run, tmp_path, "--num", 200, "--guard")
    assert (
        "the expected grade of a sample by labels.csv, 0 if it is left out, is at most 0.05" in capsys.readouterr().out
    )
    assert np.linalg.norm(kept, axis=1).mean() < radius.mean()


def test_scores_that_have_moved_are_told(run, labels, tmp_path, capsys):
    assert run_cli("calibrate", run, "--judge", labels[0], "--seed", 7, "--risk", 0.05) == 0
    points(run, tmp_path, "--num", 300, "--guard", "--num-steps", 1)
    printed = capsys.readouterr()
    assert "was calibrated num_steps went from 2 to 1" in printed.err
    assert "calibrate again" in printed.out


def test_a_rule_and_a_guard_keep_what_passes_both(trained_run, tmp_path, capsys):
    run, out = trained_run("sums"), tmp_path / "drawn.npz"
    assert run_cli("sample", run, "--seed", 7, "--num", NUM, "--out", out) == 0
    brightness = np.load(out)["image"].mean(axis=(1, 2, 3))
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"{i},{int(each)}\n" for i, each in enumerate(brightness > np.quantile(brightness, 0.9))))
    assert run_cli("calibrate", run, "--judge", path, "--seed", 7, "--risk", 0.12) == 0
    capsys.readouterr()
    assert run_cli("sample", run, "--num", 20, "--rule", "true", "--guard", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "candidates obey the rule and pass" in printed
    assert "reads attributes exactly" in printed
    # All obey; 12 % over beta.ppf(0.005, 20, 1) is the price of not knowing that.
    assert "with probability 94.5 % at most 15.6 % of those that pass all filters" in printed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--risk", "0"], "expected --risk in (0, 1), got 0"),
        (["--risk", "nan"], "expected --risk in (0, 1), got nan"),
        (["--confidence", "1"], "expected --confidence in (0, 1), got 1"),
        (["--num", "0"], "expected --num of 1 to 1,000,000"),
        (["--num", "100"], "100 labelled samples cannot certify a risk of 1 %: --num 399 or more"),
        (["--num", "400"], "all of the 400 labelled samples are unreliable"),
        (["--judge", "classifier"], "no classifier is known for examples of the kind point"),
        (["--judge", "wrld"], "expected --judge world, classifier or a .csv file of labels; got 'wrld'"),
        (["--judge", "nowhere.csv"], "cannot read nowhere.csv (No such file or directory)"),
        (["--condition", "1"], "this model is unconditional"),
        (["--num", "400", "--detector", "magic"], "no detector 'magic': name one of realism"),
    ],
)
def test_calibrations_that_cannot_be_are_one_line(run, words, expected, capsys):
    assert run_cli("calibrate", run, *words) == 2
    assert expected in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (run / "guard.json").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "no labels"),
        ("id,label\n", "no labels"),
        ("0,1\n1\n", "label 2 is not of the form id,0 or id,1"),
        ("0,1,0\n", "label 1 is not of the form"),
        ("0,1\n1,1.5\n", "label 2 is not of an id below 1,000,000 and a grade from 0 to 1"),
        ("0,1\n1,nan\n", "label 2 is not of an id below 1,000,000 and a grade from 0 to 1"),
        ("0,1\n-1,0\n", "label 2 is not of the form"),
        ("0,1\n²,0\n", "label 2 is not of the form"),
        ("0,1\n" + "9" * 5000 + ",0\n", "label 2 is not of an id below 1,000,000"),
        ("3,1\n3,0\n", "a sample has two labels"),
        ("0,0\n1,0\n2,0\n3,0\n", "none of the 4 labelled samples is unreliable"),
        ("0,1\n1,0\n2,0\n3,0\n", "1 of the 4 labelled samples are unreliable, too few of one kind"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(run, content, expected, tmp_path, capsys):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    assert run_cli("calibrate", run, "--judge", path) == 2
    assert expected in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_detector_no_better_than_chance_is_refused_by_name(run, tmp_path, capsys, rng):
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"{i},{each}\n" for i, each in enumerate(rng.integers(0, 2, NUM))))
    assert run_cli("calibrate", run, "--judge", path, "--detector", "renoise") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the detector renoise, is no better than chance on 300 labelled samples (AUC 0." in error


def test_a_risk_that_is_too_small_names_the_number_that_would_do(run, labels, capsys):
    assert run_cli("calibrate", run, "--judge", labels[0], "--seed", 7, "--risk", 0.001) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "400 labelled samples do not certify a risk of 0.1 %" in error
    assert "would do: pass --num with another --seed, or raise --risk" in error


def test_guards_that_do_not_fit_are_one_line(run, labels, trained_runs, tmp_path, capsys):
    def refused(*words, of=run):
        assert run_cli("sample", of, "--num", 4, *words) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert f"cannot read {run}/guard.json (No such file" in refused("--guard")
    assert run_cli("calibrate", run, "--judge", labels[0], "--seed", 7, "--risk", 0.05) == 0
    file = run / "guard.json"
    assert "is of other weights (checkpoint 2 of a run of flow_2d)" in refused(
        "--guard", file, of=trained_runs("ring8")
    )
    assert "are no evidence for themselves: pass another --seed" in refused("--guard", "--seed", 7)
    assert "expected --budget 1 or more" in refused("--guard", "--budget", 0)
    strict = json.loads(file.read_text())
    strict["threshold"]["value"] = 0.0
    other = tmp_path / "strict.json"
    other.write_text(json.dumps(strict))
    assert "0 of 64 candidates pass, fewer than the 4" in refused("--guard", other, "--budget", 16)
    strict["detector"] = "magic"
    other.write_text(json.dumps(strict))
    assert "this run has no detector 'magic'" in refused("--guard", other)
