"""The plain fully connected GAN on MNIST: Linear 128-256-512-1024, LeakyReLU 0.2, tanh.

Command: aigc-jax train gan_mnist --data-dir DIR    (first: aigc-jax data prepare tfds:mnist --data-dir DIR)
Measured: not at full length yet. No published figure: the pair is the common tutorial's.

Non-saturating loss (Goodfellow et al. 2014) with one-sided label smoothing (Salimans et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import optax

from aigc_jax.algorithms.gan import GANNetworks, gan
from aigc_jax.losses.adversarial import non_saturating
from aigc_jax.nets.mlp import MLPDiscriminator, MLPGenerator
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of gan_mnist."""

    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    steps: int = 50_000
    """Number of training steps."""
    latent_dim: int = 100
    """Length of the latent vector."""
    learning_rate: float = 2e-4
    """Adam's step size, for both players."""
    smoothing: float = 0.1
    """One-sided label smoothing: the target for real images is 1 less this."""
    feature_matching_weight: float = 0.0
    """Weight of feature matching in the generator's loss; 0 turns it off."""
    minibatch_kernels: int = 0
    """Features of minibatch discrimination; 0 turns it off."""
    ema_decay: float = 0.999
    """Decay of the generator's weight average."""
    checkpoint_every: int = 5000
    """Steps between checkpoints; 0 for one at the end only."""
    sample_every: int = 5000
    """Steps between sample grids; 0 for none."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, axis = config.num_classes or 0, axis_name(config.parallel)
    networks = GANNetworks(
        MLPGenerator(config.image_shape, num_classes=classes, axis_name=axis),
        MLPDiscriminator(num_classes=classes, minibatch_kernels=config.minibatch_kernels, axis_name=axis),
        config.latent_dim,
        classes,
    )
    algorithm = gan(
        networks,
        non_saturating(smoothing=config.smoothing),
        generator_tx=optax.adam(config.learning_rate, b1=0.5, b2=0.999),
        discriminator_tx=optax.adam(config.learning_rate, b1=0.5, b2=0.999),
        feature_matching_weight=config.feature_matching_weight,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis,
    )
    return image_experiment(config, algorithm)
