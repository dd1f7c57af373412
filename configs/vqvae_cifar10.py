"""VQ-VAE on CIFAR-10: maps of 8 x 8 codes out of 512, van den Oord, Vinyals and Kavukcuoglu 2017, section 4.1.

Command: aigc-jax train vqvae_cifar10 --data-dir DIR    (first: aigc-jax data prepare tfds:cifar10 --data-dir DIR)
Measured: not at full length yet. The paper reports 4.67 bits/dim (a lower bound as here, with a trained prior).

As published: two strided convolutions to 8 x 8, 512 codes, commitment 0.25, Adam 2e-4, 250,000 steps of 128. Not as
published: one code at each position (the paper has ten there), codes of 64 numbers that are averages over time (the
paper's appendix) and drawn anew when dead, residual blocks with layer norm, sub-pixel up-sampling, logistic grey
levels. The prior takes each position's code by itself, from how often training saw it there: a baseline to code
against, whose samples are incoherent.
"""

from __future__ import annotations

from dataclasses import dataclass

import optax

from aigc_jax.algorithms.vqvae import Model, vqvae
from aigc_jax.losses.likelihoods import discretized_logistic
from aigc_jax.nets.vae import ConvDecoder, ConvEncoder
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of vqvae_cifar10."""

    data: str = "tfds:cifar10"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    image_shape: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of an image."""
    num_classes: int | None = None
    """Number of classes to condition on; None for an unconditional model."""
    steps: int = 250_000
    """Number of training steps."""
    batch_size: int = 128
    """Examples per update, over all devices."""
    num_codes: int = 512
    """Codes in the codebook."""
    code_dim: int = 64
    """Length of a code."""
    widths: tuple[int, ...] = (128, 256)
    """Channels after each halving of the sides."""
    num_blocks: int = 2
    """Residual blocks at each resolution."""
    commitment: float = 0.25
    """Weight of the distance of the encoder's outputs from their codes."""
    codebook_decay: float = 0.99
    """Decay of the averages that the codes are."""
    restart_below: float = 0.01
    """A code used less than this part of an even share is drawn anew."""
    learning_rate: float = 2e-4
    """Adam's step size."""
    ema_decay: float = 0.999
    """Decay of the weight average."""
    checkpoint_every: int = 5000
    """Steps between checkpoints; 0 for one at the end only."""
    sample_every: int = 5000
    """Steps between sample grids; 0 for none."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, likelihood = config.num_classes or 0, discretized_logistic()
    height, width, _ = config.image_shape
    halvings = len(config.widths)
    latent_shape = (height >> halvings, width >> halvings, config.code_dim)
    model = Model(
        ConvEncoder(latent_shape, config.widths, config.num_blocks, num_outputs=1, num_classes=classes),
        ConvDecoder(config.image_shape, config.widths, config.num_blocks, likelihood.num_outputs, classes),
        latent_shape,
        likelihood,
        config.num_codes,
        classes,
    )
    algorithm = vqvae(
        model,
        optax.adam(config.learning_rate),
        commitment=config.commitment,
        codebook_decay=config.codebook_decay,
        restart_below=config.restart_below,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
