"""EDM on CIFAR-10, class-conditional, for a GPU or TPU.

Command: aigc-jax train edm_cifar10 --data-dir DIR     (once before: aigc-jax data prepare tfds:cifar10 --data-dir DIR)
Measured: not run to its end here; a shortened run is part of the tests. Published: FID 1.79 (Karras et al. 2022,
table 2, conditional, variance-preserving network, 200 million images, 35 evaluations a sample).

Preconditioning, log-normal noise levels and Heun's method of Karras et al. 2022; the U-Net is ADM's at the paper's
width, without their augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.algorithms.diffusion import diffusion
from aigc_jax.nets.unet import UNetSettings, make_unet
from aigc_jax.processes.gaussian import edm
from aigc_jax.processes.prediction import precondition
from aigc_jax.processes.times import lognormal_times
from aigc_jax.samplers.likelihood import Likelihood, make_log_likelihood
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of edm_cifar10."""

    steps: int = 390_000
    """Number of training steps; with the batch size, the paper's 200 million images."""
    batch_size: int = 512
    """Examples per update, over all devices."""
    data: str = "tfds:cifar10"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    image_shape: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of an image."""
    learning_rate: float = 1e-3
    """Adam's step size after the first steps."""
    num_warmup_steps: int = 20_000
    """Steps over which the step size rises."""
    ema_decay: float = 0.9993
    """Decay of the weight average: a half-life of half a million images."""
    sigma_data: float = 0.5
    """Standard deviation of the data."""
    time_mean: float = -1.2
    """Mean of ln(sigma) in training."""
    time_std: float = 1.2
    """Standard deviation of ln(sigma) in training."""
    condition_dropout: float = 0.1
    """Share of the examples trained without their class."""
    sample_every: int = 10_000
    """Steps between sample grids; 0 for none."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints; 0 for one at the end only."""
    net: UNetSettings = field(
        default_factory=lambda: UNetSettings(128, (2, 2, 2), 4, (16,), head_width=64, dropout=0.13, dtype="bfloat16")
    )
    sampling: Sampling = field(default_factory=lambda: Sampling("heun", 18, grid="karras"))
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, process = config.num_classes or 0, edm()
    net, parameterization = make_unet(config.net, num_classes=classes), precondition(process, config.sigma_data)
    schedule = optax.linear_schedule(0.0, config.learning_rate, max(config.num_warmup_steps, 1))
    algorithm = diffusion(
        Denoiser(net, process, parameterization, config.image_shape, classes),
        tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        sampler=make_sampler(process, config.sampling, num_classes=classes),
        log_likelihood=make_log_likelihood(process, config.likelihood),
        time_sampler=lognormal_times(config.time_mean, config.time_std),
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
