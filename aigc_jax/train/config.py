"""What every experiment's configuration has: how long, on what, how often to look and to save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aigc_jax.train.parallel import PARALLEL_MODES, ParallelMode
from aigc_jax.types import UsageError


@dataclass(frozen=True)
class TrainConfig:
    """The settings that the trainer reads; an experiment's own Config adds its own.

    The text under each field is its ``--help``.

    >>> TrainConfig(steps=10).batch_size
    64
    """

    steps: int = 1000
    """Number of training steps."""
    batch_size: int = 64
    """Examples per update, over all devices."""
    seed: int = 0
    """Seed of initial weights, of training noise and of the data order."""
    parallel: ParallelMode = "pmap"
    """How a step runs on several devices."""
    num_microbatches: int = 1
    """Evaluate each gradient in this many pieces: less memory, the same step."""
    log_every: int = 50
    """Steps between log lines."""
    sample_every: int = 500
    """Steps between sample grids; 0 for none."""
    checkpoint_every: int = 500
    """Steps between checkpoints; 0 for one at the end only."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints are kept."""
    eval_every: int = 0
    """Steps between evaluations; 0 for none."""
    best_metric: str | None = None
    """Name of the evaluated metric whose best checkpoint is kept beside the newest ones."""
    best_mode: Literal["min", "max"] = "max"
    """Whether the best value of best_metric is the smallest or the largest."""
    data: str = "digits"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    data_dir: str | None = None
    """Where prepared tfds data lies."""
    skip_broken: bool = False
    """Leave out images of folder:DIR that cannot be read, instead of stopping."""
    image_shape: tuple[int, int, int] = (28, 28, 1)
    """Height, width and channels of an image."""
    num_classes: int | None = 10
    """Number of classes to condition on; None for an unconditional model."""
    data_workers: int = 1
    """Threads that prepare batches ahead of the step."""
    wandb: str | None = None
    """Project of Weights & Biases to log to as well; needs the extra wandb."""


_AT_LEAST = {
    "steps": 1,
    "batch_size": 1,
    "seed": 0,
    "num_microbatches": 1,
    "log_every": 1,
    "sample_every": 0,
    "checkpoint_every": 0,
    "keep_checkpoints": 1,
    "eval_every": 0,
    "data_workers": 0,
}


def validate(config: TrainConfig) -> None:
    """Refuse settings that cannot work, before anything is opened or written.

    Args:
        config: the settings.

    Raises:
        UsageError: a setting is out of range, or two contradict each other.

    >>> validate(TrainConfig(steps=0))
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: expected steps >= 1, got 0: set --steps to 1 or more
    """
    for name, minimum in _AT_LEAST.items():
        value = getattr(config, name)
        if value < minimum:
            raise UsageError(f"expected {name} >= {minimum}, got {value}: set {_flag(name)} to {minimum} or more")
    if config.batch_size % config.num_microbatches:
        raise UsageError(
            f"expected a batch size that is a multiple of num_microbatches, got {config.batch_size} and "
            f"{config.num_microbatches}: change --batch-size or --num-microbatches"
        )
    if config.seed >= 2**32:
        raise UsageError(f"expected seed < 2**32, got {config.seed}: set --seed to a smaller number")
    if config.parallel not in PARALLEL_MODES:
        modes = ", ".join(PARALLEL_MODES)
        raise UsageError(f"expected parallel to be one of {modes}, got {config.parallel!r}: set --parallel")
    if config.best_metric is not None and config.eval_every == 0:
        raise UsageError(
            f"best_metric {config.best_metric!r} is never measured with eval_every 0: set --eval-every, "
            "or --best-metric None"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
