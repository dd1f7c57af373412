"""Wasserstein GAN with gradient penalty on MNIST.

Command: aigc-jax train wgan_gp_mnist --data-dir DIR    (first: aigc-jax data prepare tfds:mnist --data-dir DIR)
Measured: not at full length yet. The paper gives no figure for MNIST; its settings (n_critic 5, lambda 10,
Adam 1e-4 with b1 0, b2 0.9, batch 64) are kept.

Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import optax

from aigc_jax.algorithms.gan import GANNetworks, gan
from aigc_jax.losses.adversarial import wasserstein
from aigc_jax.losses.regularizers import gradient_penalty
from aigc_jax.nets.conv import ConvDiscriminator, ConvGenerator
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of wgan_gp_mnist."""

    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    steps: int = 40_000
    """Number of generator updates."""
    n_critic: int = 5
    """Critic updates per step."""
    width: int = 128
    """Channels of the generator's smallest resolution."""
    critic_widths: tuple[int, ...] = (64, 128)
    """Channels of the critic after each halving of the resolution."""
    latent_dim: int = 128
    """Length of the latent vector."""
    learning_rate: float = 1e-4
    """Adam's step size, for both players."""
    penalty_weight: float = 10.0
    """Lambda, the weight of the gradient penalty."""
    ema_decay: float = 0.999
    """Decay of the generator's weight average."""
    checkpoint_every: int = 2000
    """Steps between checkpoints; 0 for one at the end only."""
    sample_every: int = 2000
    """Steps between sample grids; 0 for none."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, axis = config.num_classes or 0, axis_name(config.parallel)
    networks = GANNetworks(
        ConvGenerator(config.image_shape, config.width, norm="batch", num_classes=classes, axis_name=axis),
        ConvDiscriminator(config.critic_widths, num_classes=classes, axis_name=axis),
        config.latent_dim,
        classes,
    )
    algorithm = gan(
        networks,
        wasserstein(),
        generator_tx=optax.adam(config.learning_rate, b1=0.0, b2=0.9),
        discriminator_tx=optax.adam(config.learning_rate, b1=0.0, b2=0.9),
        regularizer=gradient_penalty(networks.logits, networks.between, weight=config.penalty_weight),
        n_critic=config.n_critic,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis,
    )
    return image_experiment(config, algorithm, updates_per_step=config.n_critic)
