"""The command import: published weights, and those of export, become runs that sample."""

import jax
import numpy as np
import pytest
from aigc_jax.configs.ddpm_cifar10 import Config, build
from safetensors.numpy import save_file

from aigc_jax import cli, load_run
from aigc_jax.inference.published import load_published
from aigc_jax.nets.unet import UNetSettings
from aigc_jax.train.loop import abstract_state
from tests.inference.published_example import DIT, NUM_CLASSES, STEPS
from tests.inference.test_published import GOLDEN, inputs, weights_of
from tests.runs import TINY

pytestmark = pytest.mark.standard_promotion

SMALL_DIT = [
    *["--net.width", str(DIT["hidden_size"]), "--net.depth", str(DIT["depth"]), "--net.dtype", "float32"],
    *["--net.head-width", str(DIT["hidden_size"] // DIT["num_heads"]), "--num-classes", str(NUM_CLASSES)],
    *["--latent-shape", "8", "8", "4", "--sampling.num-steps", "2", "--batch-size", "4"],
]


@pytest.fixture(scope="module")
def dit_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("published") / "dit.safetensors"
    save_file(weights_of("dit"), file)
    return file


def check_denoiser(denoise, kind):
    """Its x_0 is that of Ho et al. 2020, equation 15, from the output of PyTorch and the table of published code."""
    x_t, _, condition = inputs(kind)
    t = np.asarray((STEPS + 1) / 1000, np.float32)  # step 0 has added noise once
    x_0 = np.asarray(jax.jit(lambda *given: denoise(*given))(x_t, t, condition))
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[STEPS][:, None, None, None]
    epsilon = np.reshape(GOLDEN[kind]["output"], (*x_t.shape[:-1], -1))[..., : x_t.shape[-1]]
    # Times sqrt(alpha_bar): at the last step rounding is divided by 0.006.
    expected = np.asarray(x_t) - np.sqrt(1 - alpha_bar) * epsilon
    np.testing.assert_allclose(x_0 * np.sqrt(alpha_bar), expected, atol=5e-4)


@pytest.mark.slow
def test_ddpm_cifar10_with_published_weights_removes_noise_as_published():
    net = UNetSettings(128, (1, 2), 1, (4,), resampling="conv")
    experiment = build(Config(net=net, image_shape=(8, 8, 3)))
    expected = abstract_state(experiment).variables
    weights = weights_of("unet")
    shapes = {name: array.shape for name, array in weights.items()}
    variables = load_published(shapes, weights.__getitem__, expected)
    check_denoiser(experiment.algorithm.denoising.denoiser(variables), "unet")


@pytest.mark.slow
def test_imported_dit_removes_noise_as_published_and_samples(dit_file, tmp_path):
    run = tmp_path / "run"
    assert cli.main(["import", "dit_xl_imagenet", "--weights", str(dit_file), "--workdir", str(run), *SMALL_DIT]) == 0
    loaded = load_run(run)
    check_denoiser(loaded.algorithm.denoising.denoiser(loaded.variables), "dit")
    assert cli.main(["sample", str(run), "--num", "3", "--condition", "2", "--out", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as saved:
        assert (saved["latent"].shape, saved["latent"].dtype) == ((3, 8, 8, 4), np.float32)
        assert saved["label"].tolist() == [2, 2, 2]


def test_exported_weights_import_as_a_run_of_equal_samples_that_trains_on(trained_run, tmp_path):
    run, back = trained_run("vae_digits"), tmp_path / "back"
    assert cli.main(["export", str(run)]) == 0
    words = ["vae_digits", *TINY["vae_digits"].split(), "--workdir", str(back), "--steps", "1"]
    assert cli.main(["import", *words, "--weights", str(run / "export" / "weights.safetensors")]) == 0
    np.testing.assert_array_equal(load_run(back).sample(20), load_run(run).sample(20))
    assert cli.main(["import", *words, "--weights", str(run / "export" / "weights.safetensors")]) == 2  # not over it
    assert cli.main(["train", *words, "--sample-every", "0"]) == 0
    assert sorted(path.name for path in (back / "checkpoints").iterdir()) == ["0", "1"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dit_xl_imagenet", "--weights", "{file}", *SMALL_DIT, "--net.depth", "3"], "another model (params/denoiser"),
        (["vae_digits", "--weights", "{file}"], "this experiment has a model of another kind"),
        (["dit_xl_imagenet", "--weights", "weights.pt"], "can run code"),
        (["dit_xl_imagenet", "--weights", "no.safetensors"], "No such file"),
        (["dit_xl_imagenet", "--weights", "{folder}/broken.safetensors"], "cannot read"),
        (["dit_xl_imagenet", "--weights", "{folder}/other.safetensors"], "expected the arrays of"),
        (["dit_xl_imagenet"], "weights"),
        (["no_config", "--weights", "{file}"], "expected a config"),
    ],
)
def test_import_refuses_in_one_line_and_makes_no_run(dit_file, tmp_path, words, expected, capsys):
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 40)
    save_file({"a\x1b[2J": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    words = [word.format(file=dit_file, folder=tmp_path) for word in words]
    assert cli.main(["import", *words, "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert expected in error
    assert "\n" not in error
    assert "\x1b" not in error
    assert not (tmp_path / "run").exists()
