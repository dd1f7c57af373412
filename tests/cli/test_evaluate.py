"""aigc-jax evaluate: the origin of a report, reports side by side, and data that no classifier can learn."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.report.files import read_per_sample, read_report

pytestmark = pytest.mark.standard_promotion

FEW = ["--num-samples", "30", "--sweep-samples", "0", "--detector-samples", "10", "--single-judge"]


def test_reports_name_their_origin_and_lie_side_by_side(trained_run, quick_classifiers, tmp_path, capsys):
    run, folders = trained_run("gan_digits"), [tmp_path / name for name in "ab"]
    for folder in folders:
        assert cli.main(["evaluate", str(run), *FEW, "--out", str(folder)]) == 0
    assert not (run / "report").exists()
    assert re.search(r"evaluate: copying \(\d+ of \d+\)", capsys.readouterr().err)
    facts = read_report(folders[0]).facts
    assert facts["config"] == "gan_digits"
    assert facts["checkpoint"] == "latest, step 2"
    assert facts["command"].startswith(f"aigc-jax evaluate {run} --num-samples 30 --out ")
    assert {"parameters", "seed", "data checksum", "device", "date", "duration"} <= facts.keys()
    assert cli.main(["compare", *map(str, folders)]) == 0
    assert "+0.00 points" in capsys.readouterr().out
    words = ["evaluate", str(run), *FEW, "--num-samples", "20", "--out", str(folders[0])]
    assert cli.main(words) == 0
    former = folders[0] / "step2_n30_seed0"
    assert f"the former report is kept in {former}" in capsys.readouterr().err
    assert (read_report(former).num_samples, read_report(folders[0]).num_samples) == (30, 20)
    assert sorted(file.name for file in former.iterdir()) == ["index.html", "per_sample.npz", "report.json"]


def images(folder, num, seed=0):
    folder.mkdir(parents=True)
    for i, pixels in enumerate(np.random.default_rng(seed).integers(0, 256, (num, 16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", ["1", "None"])
def test_few_images_without_classes_to_learn_are_evaluated(num_classes, tmp_path, quick_classifiers):
    images(tmp_path / "images" / "cat", 40)
    run, data = tmp_path / "run", f"folder:{tmp_path / 'images'}"
    options = ["--data", data, "--image-shape", "16", "16", "3", "--num-classes", num_classes, "--widths", "4"]
    options += ["--steps", "2", "--batch-size", "4", "--log-every", "1", "--sample-every", "0", "--eval-every", "2"]
    assert cli.main(["train", "vae_digits", "--workdir", str(run), *options]) == 0
    assert "eval/nll" in json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]
    assert cli.main(["evaluate", str(run), *FEW]) == 0
    report = read_report(run)
    measured = {row.name for row in report.measurements}
    assert {"repeatability", "distinct_samples", "reconstruction_psnr"} <= measured
    assert not {"class_agreement", "manifold_precision", "frechet_distance", "inception_score"} & measured
    reasons = {report.left_out[name] for name in ("manifold_precision", "frechet_distance")}
    assert all("class" in reason and "--judge" in reason for reason in reasons)
    assert not quick_classifiers.exists()
    assert "features" not in read_per_sample(run)


def test_run_that_the_user_names_judges_unlabelled_images(trained_run, tmp_path, quick_classifiers):
    run = trained_run("vae_mnist")
    judge = trained_run("classifier_digits")
    assert cli.main(["evaluate", str(run), *FEW, "--judge", str(judge)]) == 0
    report = read_report(run)
    assert report.judge == "classifier_digits"
    assert report.find("frechet_distance").title == "FD[classifier_digits]"
    assert not quick_classifiers.exists()
