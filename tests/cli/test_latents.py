"""aigc-jax latents: three pictures of any run with an encoder, and one line for one without."""

import json

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.cli import evaluate as evaluation
from aigc_jax.data.images import GAP
from aigc_jax.data.pipeline import load
from aigc_jax.evaluation.from_run import evaluated_model
from aigc_jax.inference.latents import make_latent_fns
from aigc_jax.runs import load_run

pytestmark = pytest.mark.standard_promotion


@pytest.mark.parametrize("name", ["vae_digits", "hvae_digits"])
def test_latents_writes_three_pictures(name, trained_run, capsys):
    run = trained_run(name)
    assert cli.main(["latents", str(run), "--num-examples", "20"]) == 0
    assert "mean squared error of 20" in capsys.readouterr().out
    for picture in ("reconstruction", "interpolation", "traversal"):
        assert (run / "samples" / f"{picture}.png").stat().st_size > 500


def test_latents_draws_an_own_image_first(trained_run, tmp_path, capsys):
    run = trained_run("vae_digits")
    image = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(image).save(tmp_path / "own.png")
    words = ["latents", str(run), "--num-examples", "20"]
    assert cli.main(words) == 0
    plain = capsys.readouterr().out.splitlines()[0]
    assert cli.main([*words, "--image", str(tmp_path / "own.png"), "--condition", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == plain  # the error is of held-out images alone
    with Image.open(run / "samples" / "reconstruction.png") as picture:
        grid = np.asarray(picture.convert("L"))[::2, ::2]
    left = grid.shape[1] - GAP - 10 * (28 + GAP)
    np.testing.assert_array_equal(grid[GAP:, left + GAP :][:28, :28], image)
    for options in (["--image", str(tmp_path / "own.png")], ["--condition", "3"]):
        assert cli.main([*words, *options]) == 2
        assert "expected --condition for the --image" in capsys.readouterr().err


def test_report_measures_reconstructions(trained_run, monkeypatch, capsys):
    """Images of a world, which judges them without a classifier."""
    # Without the parts that take long and have tests of their own.
    nothing = {"replications": [], "paired_variants": [], "detectors": [], "sweeps": []}
    monkeypatch.setattr(
        evaluation, "evaluated_model", lambda *runs, **how: evaluated_model(*runs, **how)._replace(**nothing)
    )
    run = trained_run("sums")
    few = ["--num-samples", "20", "--detector-samples", "0", "--sweep-samples", "0"]
    assert cli.main(["evaluate", str(run), *few]) == 0
    assert "reconstruction SSIM" in capsys.readouterr().out
    report = json.loads((run / "report" / "report.json").read_text())
    rows = {row["name"]: row for row in report["measurements"]}
    for name in ("ssim", "psnr", "mse"):
        row = rows[f"reconstruction_{name}"]
        assert row["n"] == 200
        assert row["low"] < row["value"] < row["high"]
        # Hardly trained: another image of the data is more similar to an image than its reconstruction.
        assert (row["value"] < row["reference"]) != row["lower_is_better"]
    assert "161" in report["left_out"]["reconstruction_ms_ssim"]
    (diverse,) = [criterion for criterion in report["criteria"] if criterion["name"] == "diverse"]
    assert not diverse["headline"].startswith("reconstruction")
    assert "reconstructions" in {figure["name"] for figure in report["figures"]}
    assert "The worst reconstructions" in (run / "report" / "index.html").read_text()
    # The figure is that of the pictures that aigc-jax latents draws.
    experiment, _, variables = load_run(run)
    fns, source = make_latent_fns(experiment, variables), experiment.open_data().held_out
    images = load(source, np.arange(200))["example"]
    error = np.mean((fns.decode(fns.encode(images, None), None) - images) ** 2)
    assert rows["reconstruction_mse"]["value"] == pytest.approx(error, rel=1e-4)


def test_latents_of_a_binarised_model_do_not_depend_on_their_place(trained_run):
    run = trained_run("iwae_mnist")
    experiment, _, variables = load_run(run)
    encode = make_latent_fns(experiment, variables).encode
    images = np.random.default_rng(0).uniform(-1, 1, (8, 28, 28, 1)).astype(np.float32)
    whole = encode(images, None)
    np.testing.assert_allclose(whole[4:], encode(images[4:], None), atol=1e-5)


@pytest.mark.parametrize(("words", "says"), [(["--seed", "-1"], "--seed"), (["--num-examples", "3"], "--num-examples")])
def test_latents_refuses_bad_options_in_one_line(words, says, trained_run, capsys):
    run = trained_run("vae_digits")
    capsys.readouterr()
    assert cli.main(["latents", str(run), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert says in error


def test_latents_refuses_a_model_without_encoder(trained_run, capsys):
    run = trained_run("flow_digits")
    capsys.readouterr()
    assert cli.main(["latents", str(run)]) == 2
    assert "\n" not in capsys.readouterr().err.strip()
