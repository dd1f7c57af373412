"""The reader of a world's attributes: probabilities of each digit of an image, for guidance by rules and their loss.

Command: aigc-jax train attribute_reader    (or --data world:shapes --image-shape 64 64 1 --exchange 1 3)
Measured: all four digits right in 1,000 of 1,000 held-out images, and of as many of exchanged cells; in 94 and 95 %
under noise of standard deviation 1; 1,500 steps in two minutes on 2 CPU cores.

A small convolutional network. It learns from images that are composed of cells of several ones, so that it cannot guess
one digit from the others by the very rule that it is to judge, with noise, since a denoiser's predictions are blurred.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import optax

from aigc_jax.algorithms.attributes import attribute_reader
from aigc_jax.losses.augmentation import augmented, exchange_cells, noisy
from aigc_jax.nets.classifier import ConvClassifier
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import axis_name
from aigc_jax.types import Experiment, UsageError
from aigc_jax.worlds.catalog import open_world


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of attribute_reader."""

    steps: int = 1500
    """Number of training steps."""
    sample_every: int = 0
    """Steps between sample grids; 0 for none."""
    data: str = "world:sums"
    """The world whose attributes are read: world:NAME."""
    num_classes: int | None = None
    """Not used: attributes are read, and not classes."""
    exchange: tuple[int, int] = (2, 2)
    """Rows and columns of cells that images of a batch exchange; 1 1 for none."""
    noise: float = 0.7
    """Largest standard deviation of the noise that is added."""
    widths: tuple[int, ...] = (16, 32)
    """Channels of each pair of convolutions."""
    num_features: int = 128
    """Units of the hidden layer."""
    learning_rate: float = 2e-3
    """AdamW's largest step size."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    ema_decay: float = 0.99
    """Decay of the weight average."""


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    readings = open_world(config.data).readings
    if readings is None:
        raise UsageError(
            f"{config.data} has no attributes to read: pass --data world:sums, world:shapes or another one"
        )
    rows, columns = config.exchange
    exchange = augmented(functools.partial(exchange_cells, rows=rows, columns=columns))
    algorithm = attribute_reader(
        ConvClassifier(sum(map(len, readings.attributes.values())), config.widths, config.num_features),
        readings,
        optax.adamw(
            optax.cosine_onecycle_schedule(config.steps, config.learning_rate), weight_decay=config.weight_decay
        ),
        transform=exchange if rows * columns > 1 else lambda loss_fn: loss_fn,
        augment=functools.partial(noisy, max_std=config.noise),
        ema_decay=config.ema_decay,
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )
    return image_experiment(config, algorithm)
