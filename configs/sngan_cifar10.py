"""SNGAN on CIFAR-10: hinge loss, residual pair, spectral normalisation, projection discriminator.

Command: aigc-jax train sngan_cifar10 --data-dir DIR    (first: aigc-jax data prepare tfds:cifar10 --data-dir DIR)
Published FID (unconditional, TF-Inception): 21.7 in the paper, 9.0 with StudioGAN's protocol (conditional, other
settings). Not reached or measured here: it needs an accelerator; only shortened runs are tested.

Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018 (its ResNet settings, those of
Gulrajani et al. 2017: n_critic 5, Adam 2e-4 with b1 0, b2 0.9, decayed linearly to 0); Miyato and Koyama, "cGANs
with Projection Discriminator", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import optax

from aigc_jax.algorithms.gan import GANNetworks, gan
from aigc_jax.losses.adversarial import hinge
from aigc_jax.nets.resnet import ResNetDiscriminator, ResNetGenerator
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of sngan_cifar10."""

    data: str = "tfds:cifar10"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    image_shape: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of an image."""
    steps: int = 50_000
    """Number of generator updates."""
    n_critic: int = 5
    """Discriminator updates per step."""
    generator_width: int = 256
    """Channels of the generator."""
    discriminator_width: int = 128
    """Channels of the discriminator."""
    latent_dim: int = 128
    """Length of the latent vector."""
    learning_rate: float = 2e-4
    """Adam's step size at the start, for both players; it falls linearly to 0."""
    ema_decay: float = 0.9999
    """Decay of the generator's weight average."""
    checkpoint_every: int = 2500
    """Steps between checkpoints; 0 for one at the end only."""
    sample_every: int = 2500
    """Steps between sample grids; 0 for none."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, axis = config.num_classes or 0, axis_name(config.parallel)
    networks = GANNetworks(
        ResNetGenerator(config.image_shape, config.generator_width, num_classes=classes, axis_name=axis),
        ResNetDiscriminator(config.discriminator_width, num_classes=classes, axis_name=axis),
        config.latent_dim,
        classes,
    )

    def tx(updates: int) -> optax.GradientTransformation:
        return optax.adam(optax.linear_schedule(config.learning_rate, 0.0, updates), b1=0.0, b2=0.9)

    algorithm = gan(
        networks,
        hinge(),
        generator_tx=tx(config.steps),
        discriminator_tx=tx(config.steps * config.n_critic),
        n_critic=config.n_critic,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis,
    )
    return image_experiment(config, algorithm, updates_per_step=config.n_critic)
