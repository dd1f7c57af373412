"""Every shipped config runs through the real command line: few steps, tiny networks, four devices."""

import json

import numpy as np
import pytest
from PIL import Image

from aigc_jax import cli
from aigc_jax.runs import config_names, load_config, load_run

UNET = [
    "--net.width",
    "8",
    "--net.channel-multipliers",
    "1",
    "--net.num-blocks",
    "1",
    "--net.head-width",
    "0",
    "--sampling.num-steps",
    "2",
]
TINY = {
    "gan_digits": ["--generator.width", "16", "--discriminator.widths", "4", "--discriminator.num-features", "8"],
    "gan_mnist": ["--data", "digits"],
    "wgan_gp_mnist": ["--data", "digits", "--n-critic", "2", "--width", "16", "--critic-widths", "4"],
    "sngan_cifar10": ["--n-critic", "1", "--generator-width", "4", "--discriminator-width", "4"],
    "d3pm_digits": ["--net.width", "8", "--net.channel-multipliers", "1", "--sampling.num-steps", "2"],
    "flow_digits": UNET,
    "flow_2d": ["--widths", "8", "--sampling.num-steps", "2"],
    "dit_mnist": ["--data", "digits", "--net.patch-size", "14", "--net.width", "64", "--net.depth", "1"],
    "ddpm_digits": UNET,
    "edm_digits": UNET,
    "ddpm_mnist": [*UNET, "--data", "digits"],
    "edm_cifar10": [*UNET, "--net.dtype", "float32"],
    "consistency_mnist": [*UNET, "--data", "digits"],
    "vae_digits": ["--widths", "8"],
    "hvae_digits": ["--widths", "4", "8", "--latent-dims", "1", "1", "2"],
    "vae_mnist": ["--data", "digits", "--widths", "4", "8"],
    "iwae_mnist": ["--data", "digits", "--widths", "8", "--num-importance-samples", "3"],
    "vqvae_cifar10": ["--widths", "4", "4", "--num-blocks", "1", "--num-codes", "8", "--code-dim", "4"],
    "latent_diffusion_mnist": ["--data", "digits", "--net.width", "8", "--net.depth", "1", "--net.head-width", "8"],
    "classifier_digits": ["--widths", "4", "--num-features", "8"],
}
COMMON = ["--steps", "2", "--batch-size", "8", "--log-every", "1", "--checkpoint-every", "0"]


pytestmark = pytest.mark.standard_promotion


def make_folder(path, num_classes=2, num_images=8):
    pixels = np.random.default_rng(0).integers(0, 256, (num_classes, num_images, 16, 16, 3), np.uint8)
    for label in range(num_classes):
        (path / f"class{label}").mkdir(parents=True)
        for number in range(num_images):
            Image.fromarray(pixels[label, number]).save(path / f"class{label}" / f"{number}.png")
    return ["--data", f"folder:{path}", "--image-shape", "16", "16", "3", "--num-classes", str(num_classes)]


def test_every_config_is_in_the_table():
    assert set(TINY) == set(config_names())


def train(name, workdir, *words):
    return cli.main(["train", name, "--workdir", str(workdir), *COMMON, *TINY[name], *words])


@pytest.mark.parametrize("name", sorted(TINY))
def test_config_trains(name, tmp_path):
    words = make_folder(tmp_path / "images") if "cifar10" in name else []
    if name == "latent_diffusion_mnist":
        assert train("vae_mnist", tmp_path / "vae") == 0
        words = ["--autoencoder", str(tmp_path / "vae")]
    assert train(name, tmp_path / "run", *words) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert (tmp_path / "run" / "samples" / "step_00000002.png").exists() == (name != "classifier_digits")


@pytest.mark.parametrize(("architecture", "layer"), [("conv", "Conv_0"), ("mixer", "in")])
def test_a_classifier_of_each_architecture_trains(architecture, layer, tmp_path):
    words = ["--architecture", architecture, "--patch-size", "7", "--mixer-width", "8", "--mixer-depth", "1"]
    assert train("classifier_digits", tmp_path / "run", *words) == 0
    _, _, variables = load_run(tmp_path / "run")
    assert layer in variables["params"]["classifier"]


@pytest.mark.parametrize("name", sorted(TINY))
def test_docstring_says_how_to_run_it_and_what_it_measured(name):
    text = load_config(name).__doc__
    assert f"aigc-jax train {name}" in text
    assert "easured" in text


def test_a_consistency_model_is_distilled_from_a_run(tmp_path, capsys):
    assert train("flow_digits", tmp_path / "flow") == 0
    assert train("consistency_mnist", tmp_path / "run", "--teacher", str(tmp_path / "flow")) == 0
    capsys.readouterr()
    assert train("consistency_mnist", tmp_path / "other", "--teacher", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "flow_digits" in error
