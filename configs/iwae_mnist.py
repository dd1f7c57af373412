"""Importance-weighted autoencoder on binarized MNIST: Burda, Grosse and Salakhutdinov 2016, one stochastic layer.

Command: aigc-jax train iwae_mnist --data-dir DIR    (first: aigc-jax data prepare tfds:mnist --data-dir DIR)
         aigc-jax train iwae_mnist --num-importance-samples 1 ...    the VAE to compare with
Measured on 2 CPU cores, far short of the paper's budget: k = 1, 50 passes with --schedule cosine: L_5000 of 1,000 test
images 91.06 nats (89.54 to 92.59); k = 50, 15 passes: 91.98 (90.45 to 93.52). See docs/results/likelihood.md.

The paper's protocol: 784-200-200-50 and back, tanh, Adam(0.9, 0.999, 1e-4), batches of 20, pixels drawn anew at each
look, 3^i passes over the data at 0.001 * 10^(-i/7) for i = 0 ... 7: 3,280 passes, 9.84 million steps. Test NLL in
nats by L_5000 (table 1): VAE 86.76, IWAE with k = 5 85.54, with k = 50 84.78.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import optax

from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.algorithms.iwae import iwae
from aigc_jax.losses.likelihoods import bernoulli
from aigc_jax.nets.vae import MLPDecoder, MLPEncoder
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Experiment

MEAN_LOGIT = -2.0
"""The logit of MNIST's mean pixel, 0.13; the paper's code begins with the mean of each pixel."""


@dataclass(frozen=True)
class Likelihood:
    """How the log-likelihood is evaluated."""

    num_importance_samples: int = 50
    """k of the bound L_k that an evaluation gives; the paper's is 5000."""
    chunk_size: int = 50
    """Draws of the latent computed at once: memory only."""


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of iwae_mnist."""

    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    num_classes: int | None = None
    """Number of classes to condition on; None for an unconditional model."""
    steps: int = 9_840_000
    """Number of training steps; the schedule is stretched or squeezed to them."""
    batch_size: int = 20
    """Examples per update, over all devices."""
    num_importance_samples: int = 50
    """k of the bound that is maximised; 1 gives a plain VAE."""
    latent_dim: int = 50
    """Length of the latent vector."""
    widths: tuple[int, ...] = (200, 200)
    """Units of the hidden layers of both networks."""
    learning_rate: float = 1e-3
    """Adam's largest step size."""
    schedule: Literal["paper", "cosine"] = "paper"
    """The paper's eight stages from 1 to 1/10 of it; or, for few passes, a cosine to 1/50."""
    log_every: int = 500
    """Steps between log lines."""
    checkpoint_every: int = 20_000
    """Steps between checkpoints; 0 for one at the end only."""
    sample_every: int = 20_000
    """Steps between sample grids; 0 for none."""
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, latent_shape = config.num_classes or 0, (config.latent_dim,)
    model = Model(
        MLPEncoder(latent_shape, config.widths, num_classes=classes),
        MLPDecoder(config.image_shape, config.widths[::-1], num_classes=classes, output_bias=MEAN_LOGIT),
        latent_shape,
        bernoulli(),
        classes,
        is_binarized=True,
        num_importance_samples=config.likelihood.num_importance_samples,
        chunk_size=config.likelihood.chunk_size,
    )
    algorithm = iwae(
        model,
        optax.adam(_schedule(config), b1=0.9, b2=0.999, eps=1e-4),
        num_importance_samples=config.num_importance_samples,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)


def _schedule(config: Config) -> optax.Schedule:
    if config.schedule == "cosine":
        return optax.cosine_decay_schedule(config.learning_rate, config.steps, alpha=0.02)
    passes = [3**i for i in range(8)]
    ends = [round(config.steps * sum(passes[: i + 1]) / sum(passes)) for i in range(7)]
    # Where the steps are few, the first stages have none at all: two ends may not coincide.
    ends = [end for i, end in enumerate(ends) if end > (ends[i - 1] if i else 0)]
    rates = [config.learning_rate * 10 ** (-i / 7) for i in range(8 - len(ends) - 1, 8)]
    return optax.join_schedules([optax.constant_schedule(rate) for rate in rates], ends)
