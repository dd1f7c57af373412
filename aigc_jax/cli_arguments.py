"""The arguments of each command; the text under a field is its ``--help``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

Run = Annotated[Path, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained run: what every command on one takes."""

    run: Run
    """The run directory."""
    checkpoint: str = "latest"
    """Which weights: latest, best or a step."""
    config: Path | None = None
    """The config file, for a run that was trained with one that is not shipped."""
    data_dir: str | None = None
    """Where prepared tfds data lies now, if no longer where it was at training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """How samples are drawn, for models that leave a choice; None for what the run was trained with."""

    sampler: str | None = None
    """The solver, for example ddim; --help of aigc-jax train CONFIG names them."""
    num_steps: int | None = None
    """Number of steps of the sampler."""
    guidance: float | None = None
    """Classifier-free guidance weight; 1 is the conditional model itself."""
    guidance_rescale: float | None = None
    """Share in [0, 1] by which guided predictions get the contrast of unguided ones back."""
    guidance_interval: tuple[float, float] | None = None
    """Noise levels sigma / alpha, low and high, between which there is guidance."""

    def overrides(self) -> dict[str, object]:
        """What was given, by the name of the setting."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Sampler)}
        return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Sample(Sampler, Trained):
    """Draw samples from a trained run. Sample i depends on (checkpoint, seed, i, condition) alone."""

    num: int = 64
    """Number of samples."""
    condition: int | None = None
    """Class of all samples; None takes the classes in turn."""
    seed: int = 0
    """Which sequence of samples."""
    out: Path | None = None
    """A .png grid or an .npz file; None for a grid in the run's samples folder."""


@dataclasses.dataclass(frozen=True)
class Edit(Sampler, Trained):
    """Change held-out images: make up the part that is not kept, or all of each, as much as --strength says."""

    num: int = 10
    """Number of images."""
    keep: Literal["nothing", "left", "right", "top", "bottom"] = "nothing"
    """The half of each image that stays: in-painting. nothing: image-to-image."""
    strength: float = 1.0
    """Share of the noise that each image gets, in (0, 1]; 0.5 keeps a resemblance."""
    condition: int | None = None
    """Class of all results; None keeps each image's own."""
    seed: int = 0
    """Which noise."""
    out: Path | None = None
    """A .png with a row of originals and rows of results; None for one in the run's samples folder."""


@dataclasses.dataclass(frozen=True)
class Evaluate(Sampler, Trained):
    """Measure a trained run and write its report; with a gate file, exit 1 when a gate fails."""

    num_samples: int = 5000
    """Number of samples to measure."""
    gate: Path | None = None
    """A TOML file of limits, for example [class_agreement] min = 0.98: the targets that colour the lights."""
    seed: int = 0
    """Which sequence of samples."""
    sweep_samples: int = 200
    """Samples at each point of the sweeps over samplers, guidance or truncation; 0 leaves them out."""
    detector_samples: int = 1000
    """How many of the samples the detectors of hallucination score."""
    risk: float = 0.01
    """The risk of violations that a calibrated filter shall guarantee, in (0, 1)."""
    partner: Path | None = None
    """Another run of the same data: do both make the like of the same noise?"""
    denoiser: Path | None = None
    """The run of a denoising model whose detectors score this run's samples too."""
    inception: Path | None = None
    """The published Inception weights (pt_inception-2015-12-05-6726825d.pth): its features take the place of the
    classifier's in every distance."""
    single_judge: bool = False
    """Ask one classifier alone whether samples show their class, and no second one of another architecture."""
    cas: bool = False
    """Also train a classifier on samples alone and test it on real images: a minute or two more."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Put the reports of two or more evaluated runs side by side, with paired differences and their intervals."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories, each evaluated with the same --seed and --num-samples; the first is compared with."""
    out: Path | None = None
    """A .html page to write; None prints the tables only."""


@dataclasses.dataclass(frozen=True)
class Likelihood(Trained):
    """Measure how likely a trained run finds examples: nats per example, bits per dimension, with a 95 % interval."""

    num_examples: int = 1000
    """Number of examples, or all where there are fewer."""
    split: Literal["held_out", "train"] = "held_out"
    """Examples that no training saw, or those of the training."""
    num_importance_samples: int | None = None
    """Draws of the latent per example, for a model with one; None for what the run was trained with."""
    num_steps: int | None = None
    """Steps of the likelihood's solver, or times at which a bound is looked at; None likewise."""
    seed: int = 0
    """Of the draws; example i has its own, whatever the batch size."""
    batch_size: int = 50
    """Examples at once: changes memory and speed only."""

    def overrides(self) -> dict[str, object]:
        """What was given, by the name of the setting."""
        values = {"num_importance_samples": self.num_importance_samples, "num_steps": self.num_steps}
        return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Latents(Trained):
    """Draw what an autoencoder makes of held-out images: reconstructions, interpolations, traversals of the latent."""

    num_examples: int = 500
    """Number of images, or all where there are fewer; the spread of the latents is measured on them."""
    seed: int = 0
    """Which images."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Download a data set and write it as array_record files."""

    name: Annotated[str, tyro.conf.Positional]
    """tfds:NAME, for example tfds:mnist."""
    data_dir: str | None = None
    """Where to write it; None for the usual folder of tensorflow-datasets."""


@dataclasses.dataclass(frozen=True)
class List:
    """List the data sets that can be trained on."""

    data_dir: str | None = None
    """Where prepared tfds data lies; None for the usual folder of tensorflow-datasets."""


@dataclasses.dataclass(frozen=True)
class Info:
    """Print versions, devices and the shipped experiments."""
