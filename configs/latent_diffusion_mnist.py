"""Latent diffusion on MNIST: flow matching with a transformer on the latents of a trained vae_mnist.

Command: aigc-jax train vae_mnist --data-dir DIR, then
aigc-jax train latent_diffusion_mnist --data-dir DIR --autoencoder runs/vae_mnist
Measured: not run to its end here; a shortened run is part of the tests.

Rombach et al. 2022 with the network of Peebles and Xie 2023. The weights of the autoencoder are read from its run, for
training and for sampling alike: keep the run where it is.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.algorithms.latent_diffusion import latent_diffusion
from aigc_jax.nets.dit import DiTSettings, make_dit
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.train.pretrained import load_autoencoder
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of latent_diffusion_mnist."""

    autoencoder: str = "runs/vae_mnist"
    """Run directory of a trained vae_mnist with the same data, image shape and classes."""
    latent_scale: float = 1.0
    """Multiplies the latents, so that their standard deviation is about 1."""
    steps: int = 20_000
    """Number of training steps."""
    batch_size: int = 128
    """Examples per update, over all devices."""
    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    learning_rate: float = 1e-3
    """Adam's largest step size; it rises over the first steps and falls along a cosine."""
    num_warmup_steps: int = 500
    """Steps over which the step size rises."""
    ema_decay: float = 0.999
    """Decay of the weight average."""
    condition_dropout: float = 0.1
    """Share of the examples trained without their class."""
    net: DiTSettings = field(default_factory=lambda: DiTSettings(1, 128, 6))
    sampling: Sampling = field(default_factory=lambda: Sampling("dpm_solver", 20, guidance=1.5))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes = config.num_classes or 0
    module = importlib.import_module("aigc_jax.configs.vae_mnist")
    latent_shape, autoencoder, variables = load_autoencoder(config.autoencoder, module, config)
    denoiser = rectified_flow_denoiser(
        make_dit(config.net, num_classes=classes),
        latent_shape,
        num_classes=classes,
        bounds=None,
        num_levels=None,
    )
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(config.num_warmup_steps, config.steps // 2), config.steps
    )
    inner = flow_matching(
        denoiser,
        tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99)),
        sampler=make_sampler(denoiser.process, config.sampling, num_classes=classes, is_bounded=False),
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    algorithm = latent_diffusion(inner, autoencoder, variables, scale=config.latent_scale)
    return image_experiment(config, algorithm)
