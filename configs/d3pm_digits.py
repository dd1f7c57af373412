"""Discrete diffusion on the embedded digits: black and white pixels as tokens that turn into masks, one by one.

Command: aigc-jax train d3pm_digits
Measured: not run to its end here. After 850 of its steps the bound on training batches was 0.12 bits/dim (two levels).

The absorbing process of D3PM (Austin et al. 2021), trained on its bound in continuous time (Sahoo et al. 2024; Shi et
al. 2024) with a U-Net on 2 x 2 patches. The bound in nats and bits/dim is of images of ``num_levels`` grey levels:
compare it with no figure of 256 levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import optax

from aigc_jax.algorithms.discrete_diffusion import TokenDenoiser, discrete_diffusion
from aigc_jax.data.images import grey_tokens
from aigc_jax.nets.unet import UNetSettings, make_unet
from aigc_jax.processes.discrete import absorbing, uniform
from aigc_jax.samplers.discrete import TokenSampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Likelihood:
    """How the bound is measured."""

    num_steps: int = 64
    """Random times per image at which the bound is looked at, one in each of so many parts of [0, 1]."""


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of d3pm_digits."""

    steps: int = 1500
    """Number of training steps."""
    process: Literal["absorbing", "uniform"] = "absorbing"
    """What pixels turn into: masks, or random grey levels."""
    num_levels: int = 2
    """Grey levels of a pixel."""
    learning_rate: float = 2e-3
    """Adam's step size after the first hundred steps; it then falls to 0 along a cosine."""
    ema_decay: float = 0.995
    """Decay of the weight average."""
    condition_dropout: float = 0.1
    """Probability that an image's class is hidden, for guidance."""
    net: UNetSettings = field(
        default_factory=lambda: UNetSettings(
            48, (1, 2), 1, patch_size=2, norm="rms", resampling="patch", is_symmetric=True
        )
    )
    sampling: TokenSampling = field(default_factory=lambda: TokenSampling(num_steps=32, guidance=1.5))
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    process = {"absorbing": absorbing, "uniform": uniform}[config.process](config.num_levels)
    net = make_unet(
        config.net, num_classes=config.num_classes or 0, out_channels=config.image_shape[-1] * config.num_levels
    )
    warmup = min(100, config.steps // 10 + 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(config.steps, warmup + 1))
    algorithm = discrete_diffusion(
        TokenDenoiser(net, process, config.image_shape, config.num_classes or 0),
        tx=optax.adam(schedule, b2=0.99),
        sampling=config.sampling,
        num_times=config.likelihood.num_steps,
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm, modality=grey_tokens(config.num_levels))
