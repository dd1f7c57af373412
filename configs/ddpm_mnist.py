"""Improved DDPM on MNIST: cosine schedule, hybrid objective, learned variances, for a GPU or TPU.

Command: aigc-jax train ddpm_mnist --data-dir DIR     (once before: aigc-jax data prepare tfds:mnist --data-dir DIR)
Measured: not run to its end here; a shortened run is part of the tests.

Nichol and Dhariwal 2021: L_simple + 0.001 L_vlb over a chain of 1,000 steps, sampled by the ancestral sampler with
the learned variances. --objective simple trains without the bound, at continuous times, with the posterior's variances.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.algorithms.diffusion import Objective, diffusion
from aigc_jax.nets.unet import UNetSettings, make_unet
from aigc_jax.processes.gaussian import cosine
from aigc_jax.processes.prediction import predict
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
    """Settings of ddpm_mnist."""

    steps: int = 50_000
    """Number of training steps."""
    batch_size: int = 128
    """Examples per update, over all devices."""
    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    objective: Objective = "hybrid"
    """What is minimised: simple, vlb, or hybrid; the last two learn the variances."""
    num_train_steps: int = 1000
    """Length of the chain that the variational bound speaks of."""
    learning_rate: float = 2e-4
    """Adam's step size after the first steps."""
    num_warmup_steps: int = 1000
    """Steps over which the step size rises."""
    ema_decay: float = 0.9995
    """Decay of the weight average."""
    condition_dropout: float = 0.1
    """Share of the examples trained without their class."""
    sample_every: int = 5000
    """Steps between sample grids; 0 for none."""
    net: UNetSettings = field(default_factory=lambda: UNetSettings(64, (1, 2, 2), 2, (7,), head_width=64, dropout=0.1))
    sampling: Sampling = field(default_factory=lambda: Sampling("ancestral", 250, threshold="static"))
    likelihood: Likelihood = field(default_factory=Likelihood)


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, process, is_learned = config.num_classes or 0, cosine(), config.objective != "simple"
    num_channels = config.image_shape[-1]
    net = make_unet(config.net, num_classes=classes, out_channels=2 * num_channels if is_learned else None)
    denoiser = Denoiser(net, process, predict(process, "epsilon"), config.image_shape, classes)
    schedule = optax.linear_schedule(0.0, config.learning_rate, max(config.num_warmup_steps, 1))
    algorithm = diffusion(
        denoiser,
        tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        sampler=make_sampler(process, config.sampling, num_classes=classes),
        log_likelihood=make_log_likelihood(process, config.likelihood),
        objective=config.objective,
        num_train_steps=config.num_train_steps,
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
