"""Convolutional VAE on MNIST whose latent is a map of 7 x 7 x 4: the autoencoder of latent diffusion.

Command: aigc-jax train vae_mnist --data-dir DIR    (first: aigc-jax data prepare tfds:mnist --data-dir DIR)
Measured: not run to its end here; a shortened run is part of the tests.

A residual encoder and decoder (28 -> 14 -> 7), conditioned on the class; Gaussian pixels of a fixed deviation, which
sets how much the latents must keep. Samples from its own prior are poor, as they are of any autoencoder with so large a
latent: draw the latents by latent diffusion (configs/latent_diffusion_mnist.py). ``--latent-shape 32`` gives a vector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import optax

from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.algorithms.vae import vae
from aigc_jax.losses import likelihoods
from aigc_jax.losses.bounds import kl_warmup
from aigc_jax.nets.vae import ConvDecoder, ConvEncoder
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Likelihood:
    """The distribution of a pixel, and how the log-likelihood is evaluated."""

    kind: Literal["gaussian", "discretized_logistic", "bernoulli"] = "gaussian"
    """Gaussian, logistic cut into 256 grey levels, or a grey level as the probability of white."""
    std: float | None = 0.15
    """Deviation of a Gaussian (scale of a logistic), pixels spanning [-1, 1]; None learns one per pixel."""
    num_importance_samples: int = 1
    """k of the bound L_k that an evaluation gives, from 1 to thousands."""
    chunk_size: int = 10
    """Draws of the latent computed at once: memory only."""


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of vae_mnist."""

    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    steps: int = 10_000
    """Number of training steps."""
    batch_size: int = 64
    """Examples per update, over all devices."""
    latent_shape: tuple[int, ...] = (7, 7, 4)
    """A map (height, width, channels) where the widths end, or the length of a vector."""
    widths: tuple[int, ...] = (32, 64)
    """Channels after each halving of the sides."""
    num_blocks: int = 1
    """Residual blocks at each resolution."""
    learning_rate: float = 1e-3
    """Adam's largest step size; it falls along a cosine to 1/50."""
    beta: float = 1.0
    """Weight of the KL; 1 is the bound itself."""
    warmup_steps: int = 500
    """Steps in which the weight of the KL rises to beta."""
    minimum_kl: float = 0.0
    """Free bits: nats of each latent coordinate's KL that cost nothing."""
    ema_decay: float = 0.999
    """Decay of the weight average."""
    checkpoint_every: int = 2000
    """Steps between checkpoints; 0 for one at the end only."""
    sample_every: int = 2000
    """Steps between sample grids; 0 for none."""
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, likelihood = config.num_classes or 0, _likelihood(config.likelihood)
    model = Model(
        ConvEncoder(config.latent_shape, config.widths, config.num_blocks, num_classes=classes),
        ConvDecoder(config.image_shape, config.widths, config.num_blocks, likelihood.num_outputs, classes),
        config.latent_shape,
        likelihood,
        classes,
        num_importance_samples=config.likelihood.num_importance_samples,
        chunk_size=config.likelihood.chunk_size,
    )
    algorithm = vae(
        model,
        optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps, alpha=0.02)),
        beta=kl_warmup(config.beta, config.warmup_steps),
        minimum_kl=config.minimum_kl,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)


def _likelihood(settings: Likelihood) -> likelihoods.Likelihood:
    if settings.kind == "gaussian":
        return likelihoods.gaussian(settings.std)
    if settings.kind == "discretized_logistic":
        return likelihoods.discretized_logistic(settings.std)
    return likelihoods.bernoulli()
