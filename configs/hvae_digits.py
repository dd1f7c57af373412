"""Conditional hierarchical VAE on the embedded digits: three stochastic levels, minutes on a laptop.

Command: aigc-jax train hvae_digits
Measured: not run to its end here; a shortened run is part of the tests.

A ladder (Sonderby et al. 2016) with residual posteriors (Vahdat and Kautz 2020): a vector of 16, maps of 7 x 7 x 4 and
14 x 14 x 2. Grey pixels as probabilities of white; the KL of each level is logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.hvae import Model, hvae
from aigc_jax.losses.bounds import kl_warmup
from aigc_jax.losses.likelihoods import bernoulli
from aigc_jax.nets.ladder import Ladder
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Likelihood:
    """How the log-likelihood is evaluated."""

    num_importance_samples: int = 1
    """k of the bound L_k that an evaluation gives, from 1 to thousands."""
    chunk_size: int = 10
    """Draws of the latents computed at once: memory only."""


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of hvae_digits."""

    steps: int = 3000
    """Number of training steps."""
    widths: tuple[int, ...] = (32, 64)
    """Channels after each halving of the sides; so many levels of maps."""
    latent_dims: tuple[int, ...] = (2, 4, 16)
    """Length of the latent at each level, per position of a map, from the image to the top."""
    num_blocks: int = 1
    """Residual blocks at each resolution, on either way."""
    learning_rate: float = 1e-3
    """Adam's largest step size; it falls along a cosine to 1/50."""
    beta: float = 1.0
    """Weight of the KLs; 1 is the bound itself."""
    warmup_steps: int = 500
    """Steps in which the weight of the KLs rises to beta."""
    minimum_kl: float = 0.0
    """Free bits: nats of each level's KL that cost nothing."""
    ema_decay: float = 0.999
    """Decay of the weight average."""
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    ladder = Ladder(
        config.image_shape,
        config.widths,
        config.latent_dims,
        config.num_blocks,
        bernoulli().num_outputs,
        config.num_classes or 0,
    )
    model = Model(
        ladder,
        bernoulli(),
        num_importance_samples=config.likelihood.num_importance_samples,
        chunk_size=config.likelihood.chunk_size,
    )
    algorithm = hvae(
        model,
        optax.chain(
            optax.clip_by_global_norm(100.0),
            optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps, alpha=0.02)),
        ),
        beta=kl_warmup(config.beta, config.warmup_steps),
        minimum_kl=config.minimum_kl,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
