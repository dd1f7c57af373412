"""A consistency model of MNIST: one or two network evaluations a sample, for a GPU or TPU.

Command: aigc-jax train consistency_mnist --data-dir DIR
With a teacher: aigc-jax train flow_digits --data tfds:mnist --data-dir DIR --workdir runs/flow_mnist, then
aigc-jax train consistency_mnist --data-dir DIR --teacher runs/flow_mnist
Measured: not run to its end here; a shortened run is part of the tests.

Consistency training with the improved techniques of Song and Dhariwal 2023; with a teacher, consistency distillation
(Song et al. 2023), of the guided teacher.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.consistency import Curriculum, consistency, in_noise_levels
from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.nets.unet import UNetSettings, make_unet
from aigc_jax.processes.boundary import with_boundary
from aigc_jax.processes.gaussian import edm
from aigc_jax.samplers.guidance import classifier_free
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.train.pretrained import load_pretrained
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import DenoiseFn, Experiment, UsageError


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of consistency_mnist."""

    steps: int = 50_000
    """Number of training steps."""
    batch_size: int = 128
    """Examples per update, over all devices."""
    data: str = "tfds:mnist"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    teacher: str | None = None
    """Run directory of a trained flow_digits to distil; None for consistency training."""
    teacher_guidance: float = 1.5
    """Classifier-free guidance weight of the teacher."""
    first_intervals: int = 10
    """Number of noise intervals at the beginning."""
    last_intervals: int = 1280
    """Number of noise intervals at the end."""
    sigma_data: float = 0.6
    """Standard deviation of the data."""
    learning_rate: float = 2e-4
    """Adam's step size after the first steps."""
    num_warmup_steps: int = 1000
    """Steps over which the step size rises."""
    ema_decay: float = 0.9995
    """Decay of the weight average."""
    sample_every: int = 5000
    """Steps between sample grids; 0 for none."""
    net: UNetSettings = field(default_factory=lambda: UNetSettings(64, (1, 2, 2), 2, (7,), head_width=64, dropout=0.1))
    sampling: Sampling = field(default_factory=lambda: Sampling("multistep", 2, grid="karras"))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    classes, process = config.num_classes or 0, edm()
    net = make_unet(config.net, num_classes=classes)
    schedule = optax.linear_schedule(0.0, config.learning_rate, max(config.num_warmup_steps, 1))
    algorithm = consistency(
        Denoiser(net, process, with_boundary(process, config.sigma_data), config.image_shape, classes),
        Curriculum(config.steps, config.first_intervals, config.last_intervals),
        tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        sampler=make_sampler(process, config.sampling, num_classes=classes, is_consistency=True),
        teacher=None if config.teacher is None else _load_teacher(config, config.teacher),
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)


def _load_teacher(config: Config, run: str) -> DenoiseFn:
    """The guided denoiser of a trained flow, brought to the noise levels of the student."""
    flow_digits = importlib.import_module("aigc_jax.configs.flow_digits")
    theirs, _, variables = load_pretrained(run, flow_digits)
    for name in ("image_shape", "num_classes"):
        if getattr(theirs, name) != getattr(config, name):
            raise UsageError(
                f"the teacher {run} has {name} {getattr(theirs, name)}, this experiment {getattr(config, name)}: "
                f"train both with the same --{name.replace('_', '-')}"
            )
    denoiser = flow_digits.make_denoiser(theirs)
    weight = config.teacher_guidance if denoiser.num_classes else 1.0
    guide = classifier_free(weight, null=denoiser.num_classes or None)
    return in_noise_levels(guide(denoiser.denoise_fn(variables)), denoiser.process)
