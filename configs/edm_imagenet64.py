"""EDM on ImageNet at 64 x 64, class-conditional, for a TPU or several GPUs.

Command: aigc-jax train edm_imagenet64 --data folder:DIR
DIR is ImageNet's own folder of training images, with its 1,000 class folders; they are cropped to the middle square and
resized as they are read.
Measured: not trained here; a shortened run is part of the tests. Its compilation for a TPU has not ended here yet
(docs/performance.md). Published: FID 1.36 after 2,500 million images on 32 A100, by 511 evaluations a sample with the
stochastic sampler of this config (Karras et al. 2022; the README of their repository NVlabs/edm lists the options).

| of NVlabs/edm, ``imagenet-64x64-cond-adm`` | here |
|---|---|
| ``--arch=adm``: width 192 times 1 2 3 4, 3 blocks, attention at 32 16 8, heads of 64, 296 million parameters | net |
| ``--dropout=0.10``, no augmentation, no dropped classes | net.dropout, condition_dropout |
| ``--batch=4096 --duration=2500`` (million images) | batch_size, steps |
| ``--lr=1e-4`` with a rise over 10 million images, Adam | learning_rate, num_warmup_steps |
| ``--ema=50``: a half-life of 50 million images | ema_decay |
| ``--fp16=1 --ls=100``: 16 bits, losses scaled by 100 | bfloat16, which needs no scale |
| ``--steps=256 --S_churn=40 --S_min=0.05 --S_max=50 --S_noise=1.003`` | sampling |

The network sees waves of 1,000 times its noise label ln(sigma) / 4, theirs of the label itself; their average starts
with a half-life of a twentieth of the images so far, this one as :func:`aigc_jax.tree.ema_warmup_schedule` says.
A device holds few examples of so large a network: ``--net.remat full`` and ``--num-microbatches 4`` save memory.
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
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import ParallelMode, axis_name
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Experiment


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of edm_imagenet64."""

    steps: int = 610_352
    """Number of training steps; with the batch size, the paper's 2,500 million images."""
    batch_size: int = 4096
    """Examples per update, over all devices."""
    parallel: ParallelMode = "jit"
    """How a step runs on several devices; all ways are equal up to rounding."""
    data: str = "folder:imagenet"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    image_shape: tuple[int, int, int] = (64, 64, 3)
    """Height, width and channels of an image."""
    num_classes: int | None = 1000
    """Number of classes to condition on; None for an unconditional model."""
    learning_rate: float = 1e-4
    """Adam's step size after the first steps."""
    num_warmup_steps: int = 2441
    """Steps over which the step size rises: 10 million images."""
    ema_decay: float = 0.9999432
    """Decay of the weight average: a half-life of 50 million images."""
    sigma_data: float = 0.5
    """Standard deviation of the data."""
    time_mean: float = -1.2
    """Mean of ln(sigma) in training."""
    time_std: float = 1.2
    """Standard deviation of ln(sigma) in training."""
    condition_dropout: float = 0.0
    """Share of the examples trained without their class."""
    sample_every: int = 10_000
    """Steps between sample grids; 0 for none."""
    checkpoint_every: int = 2000
    """Steps between checkpoints; 0 for one at the end only."""
    net: UNetSettings = field(
        default_factory=lambda: UNetSettings(
            192, (1, 2, 3, 4), 3, (32, 16, 8), head_width=64, dropout=0.1, dtype="bfloat16"
        )
    )
    sampling: Sampling = field(
        default_factory=lambda: Sampling(
            "heun", 256, grid="karras", churn=40.0, churn_min=0.05, churn_max=50.0, churn_noise=1.003
        )
    )


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, process = config.num_classes or 0, edm()
    net, parameterization = make_unet(config.net, num_classes=classes), precondition(process, config.sigma_data)
    schedule = optax.linear_schedule(0.0, config.learning_rate, max(config.num_warmup_steps, 1))
    algorithm = diffusion(
        Denoiser(net, process, parameterization, config.image_shape, classes),
        tx=optax.adam(schedule),
        sampler=make_sampler(process, config.sampling, num_classes=classes),
        time_sampler=lognormal_times(config.time_mean, config.time_std),
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
