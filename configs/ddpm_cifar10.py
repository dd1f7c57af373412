"""DDPM on CIFAR-10 as published, for a GPU or TPU; the published PyTorch weights load into it.

Command: aigc-jax train ddpm_cifar10 --data-dir DIR     (once before: aigc-jax data prepare tfds:cifar10 --data-dir DIR)
or with the published weights of a U-Net in PyTorch: aigc-jax import ddpm_cifar10 --weights FILE.safetensors
Measured: not run to its end here; a shortened run is part of the tests. Published: FID 3.17 (Ho et al. 2020, table 1,
unconditional, 800,000 steps, 1,000 evaluations a sample).

Linear beta over a chain of 1,000 steps, the simple loss, the U-Net of appendix B with 35.7 million parameters, sampled
by DDIM in 50 steps. Theirs also mirrors half of the images; this does not. --sampler ancestral --num-steps 1000
--variance forward is the paper's own sampler.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.algorithms.diffusion import diffusion
from aigc_jax.nets.unet import UNetSettings, make_unet
from aigc_jax.processes.prediction import numbered_from_zero, predict
from aigc_jax.processes.tables import discrete_linear
from aigc_jax.processes.times import uniform_times
from aigc_jax.samplers.likelihood import Likelihood, make_log_likelihood
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment

NUM_TRAIN_STEPS = 1000


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of ddpm_cifar10."""

    steps: int = 800_000
    """Number of training steps."""
    batch_size: int = 128
    """Examples per update, over all devices."""
    data: str = "tfds:cifar10"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    image_shape: tuple[int, int, int] = (32, 32, 3)
    """Height, width and channels of an image."""
    num_classes: int | None = None
    """Number of classes to condition on; None for an unconditional model, as published."""
    learning_rate: float = 2e-4
    """Adam's step size after the first steps."""
    num_warmup_steps: int = 5000
    """Steps over which the step size rises."""
    ema_decay: float = 0.9999
    """Decay of the weight average."""
    condition_dropout: float = 0.1
    """Share of the examples trained without their class."""
    sample_every: int = 10_000
    """Steps between sample grids; 0 for none."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints; 0 for one at the end only."""
    net: UNetSettings = field(
        default_factory=lambda: UNetSettings(128, (1, 2, 2, 2), 2, (16,), dropout=0.1, resampling="conv")
    )
    sampling: Sampling = field(default_factory=lambda: Sampling("ddim", 50, threshold="static"))
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, process = config.num_classes or 0, discrete_linear(NUM_TRAIN_STEPS)
    # The details of the published code: where the embedding enters, the last wave, the constant of the norms.
    net = make_unet(config.net, num_classes=classes).clone(is_scale_shift=False, endpoint=True, norm_epsilon=1e-6)
    parameterization = numbered_from_zero(predict(process, "epsilon"), NUM_TRAIN_STEPS)
    schedule = optax.linear_schedule(0.0, config.learning_rate, max(config.num_warmup_steps, 1))
    algorithm = diffusion(
        Denoiser(net, process, parameterization, config.image_shape, classes),
        tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        sampler=make_sampler(process, config.sampling, num_classes=classes),
        log_likelihood=make_log_likelihood(process, config.likelihood),
        time_sampler=uniform_times(process, num_steps=NUM_TRAIN_STEPS),
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
