"""Tiny runs of every shipped config and of some data, trained through the command line once for all tests."""

import contextlib
import dataclasses
import fcntl
import io
import json
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from aigc_jax import cli
from aigc_jax.configs import classifier_digits

COMMON = ["--steps", "2", "--batch-size", "8", "--log-every", "1", "--checkpoint-every", "0"]
UNET = "--net.width 8 --net.channel-multipliers 1 --net.num-blocks 1 --net.head-width 0 --sampling.num-steps 2"
FOLDER = "--data folder:{folder}/images --image-shape 16 16 3 --num-classes 2"
POINTS = "--widths 8 --sampling.num-steps 2 --likelihood.num-steps 2"
TINY = {
    "gan_digits": "--generator.width 16 --discriminator.widths 4 --discriminator.num-features 8",
    "gan_mnist": "--data digits",
    "wgan_gp_mnist": "--data digits --n-critic 2 --width 16 --critic-widths 4",
    "sngan_cifar10": f"{FOLDER} --n-critic 1 --generator-width 4 --discriminator-width 4",
    "d3pm_digits": "--net.width 8 --net.channel-multipliers 1 --sampling.num-steps 2 --likelihood.num-steps 2",
    "flow_digits": UNET,
    "flow_2d": POINTS,
    "dit_mnist": "--data digits --net.patch-size 14 --net.width 64 --net.depth 1",
    "ddpm_digits": UNET,
    "edm_digits": UNET,
    "ddpm_mnist": f"--data digits {UNET}",
    "ddpm_cifar10": f"--data digits --image-shape 28 28 1 {UNET}",
    "edm_cifar10": f"{FOLDER} {UNET} --net.dtype float32",
    "edm_imagenet64": f"{FOLDER} {UNET} --net.dtype float32",
    "consistency_mnist": f"--data digits {UNET}",
    "vae_digits": "--widths 8",
    "hvae_digits": "--widths 4 8 --latent-dims 1 1 2",
    "vae_mnist": "--data digits --widths 4 8",
    "iwae_mnist": "--data digits --widths 8 --num-importance-samples 3 --likelihood.num-importance-samples 2",
    "vqvae_cifar10": f"{FOLDER} --widths 4 4 --num-blocks 1 --num-codes 8 --code-dim 4",
    "latent_diffusion_mnist": (
        "--data digits --autoencoder {folder}/vae_mnist --net.width 8 --net.depth 1 --net.head-width 8"
    ),
    "dit_xl_imagenet": (
        "--data digits --image-shape 28 28 1 --num-classes 10 --latent-shape 7 7 4 --autoencoder {folder}/vae_mnist "
        "--net.patch-size 7 --net.width 8 --net.depth 2 --net.head-width 8 --net.dtype float32 --sampling.num-steps 2"
    ),
    "gpt_docs": "--net.width 8 --net.depth 1 --net.head-width 4 --length 16 --sampling.length 8",
    "gpt_shakespeare": "--data python-docs --net.width 8 --net.depth 1 --net.head-width 4 --length 16",
    "gpt_shakespeare_gpu": (
        "--data python-docs --net.width 8 --net.depth 1 --net.head-width 4 --net.dtype float32 --length 16 "
        "--eval-every 2 --sampling.length 8"
    ),
    "gpt_reviews": "--net.width 8 --net.depth 1 --net.head-width 4 --sampling.length 8",
    "gpt_facts": "--net.width 8 --net.depth 1 --net.head-width 4 --num-train 1500",
    "gpt_preferences": (
        "--data text:{folder}/pairs.jsonl --initial {folder}/gpt_docs --net.width 8 --net.depth 1 --net.head-width 4 "
        "--length 16 --sampling.length 8"
    ),
    "mdlm_shakespeare": (
        "--data python-docs --net.width 8 --net.depth 1 --net.head-width 4 --length 16 --sampling.num-steps 2 "
        "--likelihood.num-steps 2"
    ),
    "text_classifier": "--width 8 --depth 1 --num-features 8",
    "text_transformer": "--width 8 --depth 1 --head-width 4 --num-features 8",
    "gpt_sentiment": "--net.width 8 --net.depth 1 --net.head-width 4 --num-labels 40",
    "classifier_digits": "--widths 4 --num-features 8",
    "attribute_reader": "--widths 4 --num-features 8",
    "mixer_digits": "--patch-size 7 --mixer-width 8 --mixer-depth 1",
}
"""Arguments of each shipped config; ``{folder}`` holds the runs."""
OTHERS = {
    "ring8": f"flow_2d {POINTS} --num-classes 8 --eval-every 2 --best-metric eval/valid_samples",
    "mixture16": f"flow_2d {POINTS} --data world:mixture16",
    "flow_sums": f"flow_digits {UNET} --data world:sums --num-classes None --sampling.guidance 1",
    "sums": "vae_digits --widths 8 --data world:sums --num-classes None",
    "adapted": "gpt_docs {gpt} --initial {folder}/gpt_docs --adapter lora --lora.rank 1",
    "prompted": "gpt_docs {gpt} --initial {folder}/gpt_docs --adapter prompt --num-prompt-tokens 3",
    "classified": "gpt_sentiment {classifier} --initial {folder}/gpt_docs --adapter lora --lora.rank 1",
    "factors": "vae_digits --widths 8 --data world:factors --image-shape 32 32 3 --num-classes 72",
}
"""Other runs: config and arguments."""


@dataclasses.dataclass(frozen=True)
class QuickClassifier(classifier_digits.Config):
    """Classifiers that are trained in no time, of both architectures: see the fixture quick_classifiers."""

    steps: int = 3
    batch_size: int = 8
    widths: tuple[int, ...] = (4,)
    num_features: int = 8
    patch_size: int = 14
    mixer_width: int = 4
    mixer_depth: int = 1


def make_images(path: Path, num_classes: int = 2, num_images: int = 8) -> None:
    """A folder of random images, one folder for each class."""
    pixels = np.random.default_rng(0).integers(0, 256, (num_classes, num_images, 16, 16, 3), np.uint8)
    for label in range(num_classes):
        (path / f"class{label}").mkdir(parents=True)
        for number in range(num_images):
            Image.fromarray(pixels[label, number]).save(path / f"class{label}" / f"{number}.png")


class TrainedRuns:
    """Runs by name in a folder that all processes share: the first that asks for a run trains it, the others wait."""

    def __init__(self, folder: Path):
        self.folder = folder

    def words(self, name: str) -> list[str]:
        """The command that trains a run."""
        words = OTHERS.get(name) or f"{name} {TINY[name]}"
        words = words.format(folder=self.folder, gpt=TINY["gpt_docs"], classifier=TINY["gpt_sentiment"]).split()
        return ["train", *words, "--workdir", str(self.folder / name), *COMMON]

    def __call__(self, name: str) -> Path:
        """The directory of a run: not to be written to."""
        words = self.words(name)
        for needed in ("vae_mnist", "gpt_docs"):
            if needed != name and str(self.folder / needed) in words:
                self(needed)
        if f"text:{self.folder}/pairs.jsonl" in words:
            pairs = [{"prompt": f"{n} is ", "chosen": "odd", "rejected": "even"} for n in range(1, 40, 2)]
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
        if f"folder:{self.folder}/images" in words:
            with self._once("images") as is_first:
                if is_first:
                    make_images(self.folder / "images")
        with self._once(name) as is_first:
            if is_first:
                output = io.StringIO()
                promotion = jax.numpy_dtype_promotion("standard")
                with promotion, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                    assert cli.main(words) == 0, output.getvalue()
        return self.folder / name

    @contextlib.contextmanager
    def _once(self, name: str):
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{name}.lock", "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            is_first = not file.read()
            yield is_first
            file.write("done")
