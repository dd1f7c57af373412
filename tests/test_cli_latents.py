"""aigc-jax latents: three pictures of any run with an encoder, and one line for one without."""

import jax
import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.experiments import load_run
from aigc_jax.train.latents import make_latent_fns

from .test_configs import COMMON, TINY


@pytest.fixture(scope="module", autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # optax.adam mixes dtypes
        yield


def train(name, folder):
    words = ["train", name, "--workdir", str(folder / name), *COMMON, *TINY[name], "--sample-every", "0"]
    assert cli.main(words) == 0
    return folder / name


@pytest.mark.parametrize("name", ["vae_digits", "hvae_digits"])
def test_pictures_are_written(name, tmp_path, capsys):
    run = train(name, tmp_path)
    assert cli.main(["latents", str(run), "--num-examples", "20"]) == 0
    assert "mean squared error of 20" in capsys.readouterr().out
    for picture in ("reconstruction", "interpolation", "traversal"):
        assert (run / "samples" / f"{picture}.png").stat().st_size > 500


def test_latents_of_a_binarised_model_do_not_depend_on_their_place(tmp_path):
    run = train("iwae_mnist", tmp_path)
    experiment, _, variables = load_run(run)
    encode = make_latent_fns(experiment, variables).encode
    images = np.random.default_rng(0).uniform(-1, 1, (8, 28, 28, 1)).astype(np.float32)
    whole = encode(images, None)
    np.testing.assert_allclose(whole[4:], encode(images[4:], None), atol=1e-5)


@pytest.mark.parametrize(("words", "says"), [(["--seed", "-1"], "--seed"), (["--num-examples", "3"], "--num-examples")])
def test_mistakes_cost_one_line(words, says, tmp_path, capsys):
    run = train("vae_digits", tmp_path)
    capsys.readouterr()
    assert cli.main(["latents", str(run), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert says in error


def test_a_model_without_encoder_is_refused(tmp_path, capsys):
    run = train("flow_digits", tmp_path)
    capsys.readouterr()
    assert cli.main(["latents", str(run)]) == 2
    assert "\n" not in capsys.readouterr().err.strip()
