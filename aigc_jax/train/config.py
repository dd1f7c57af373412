"""Settings that every experiment has, and the ranges of all settings, whichever experiment has them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aigc_jax.data.broken import MAX_BROKEN
from aigc_jax.errors import option
from aigc_jax.train.parallel import PARALLEL_MODES, ParallelMode
from aigc_jax.train.sharding import DATA_PARALLEL, MeshSettings
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
    schedule_steps: int | None = None
    """Length of schedules (step sizes, curricula); None for steps. To train longer, set it to the former steps."""
    batch_size: int = 64
    """Examples per update, over all devices."""
    seed: int = 0
    """Seed of initial weights, of training noise and of the data order."""
    initial: str | None = None
    """A run directory whose weights to begin with, all that fit by path and shape; None for random ones."""
    parallel: ParallelMode = "pmap"
    """How a step runs on several devices; all ways are equal up to rounding."""
    mesh: MeshSettings = DATA_PARALLEL
    sharding_rules: tuple[tuple[str, str], ...] = ()
    """Pairs of a pattern of parameters' paths and a spec, before the rules of aigc_jax/train/sharding.py."""
    steps_per_call: int = 1
    """Steps that the devices make in one call: faster where a step is short, the same result bit for bit (on a CPU,
    where convolutions are slower in it, up to rounding)."""
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
    """Name of the evaluated metric whose best checkpoint is kept besides the newest ones."""
    best_mode: Literal["min", "max"] = "max"
    """Whether the best value of best_metric is the smallest or the largest."""
    data: str = "digits"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    data_dir: str | None = None
    """Where prepared tfds data lies."""
    skip_broken: bool = False
    """Leave out images of folder:DIR and records of tfds:NAME that cannot be read, instead of stopping."""
    max_broken: float = MAX_BROKEN
    """Largest share of records that skip_broken leaves out, in [0, 1); more stop the command."""
    data_workers: int = 1
    """Threads that prepare batches ahead of the step."""
    wandb: str | None = None
    """Project of Weights & Biases to log to as well; needs the extra wandb."""


@dataclass(frozen=True)
class ImageConfig(TrainConfig):
    """The settings of an experiment on images, see :func:`aigc_jax.train.experiment.image_experiment`."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    """Height, width and channels of an image."""
    num_classes: int | None = 10
    """Number of classes to condition on; None for an unconditional model."""
    judge_split: float | None = None
    """Share of the training examples that the model never sees, for the classifiers that judge it, in [0, 1); None for
    a tenth of 50,000 or more."""


@dataclass(frozen=True)
class TextConfig(TrainConfig):
    """The settings of an experiment on text, see :func:`aigc_jax.train.experiment.text_experiment`."""

    data: str = "python-docs"
    """The text: python-docs, text:FILE (.txt or .jsonl), tfds:NAME, or sentiment without its labels."""
    tokenizer: str = "bytes"
    """Tokens: bytes, chars of the training text, or bpe:N, byte pair encoding with N tokens."""
    length: int = 128
    """Number of tokens that a model sees at once in training."""
    vocabulary: str = ""
    """The tokenizer as JSON; empty to make it of the training text when training begins."""


@dataclass(frozen=True)
class WorldTextConfig(TextConfig):
    """The settings of an experiment on a world of text, see ``world_text_experiment`` of train/experiment.py."""

    data: str = "world:facts"
    """The world of text."""
    num_train: int = 10_000
    """Number of training texts: so many draws of the world, some of them more than once, the same for every seed."""
    tokenizer: str = "words"
    """Tokens: those of the world."""


@dataclass(frozen=True)
class LabelledTextConfig(TextConfig):
    """The settings of an experiment on labelled text, see ``labelled_text_experiment`` of train/experiment.py."""

    data: str = "world:reviews"
    """The texts: text:FILE.jsonl (lines with text and label), sentiment, tfds:NAME or world:reviews."""
    num_classes: int | None = None
    """Number of classes; None for those of the data when training begins."""
    num_labels: int | None = None
    """Number of training texts, drawn at random by --seed, the same for each method; None for all."""


class Range(NamedTuple):
    """A range of finite numbers: at least ``low``, or above it, and below ``high``."""

    low: float = -math.inf
    high: float = math.inf
    is_low_excluded: bool = False

    def violated_by(self, value: float | int) -> str:
        """The bound that a number violates, as ``>= 1``; empty where there is none. NaN violates the lower one."""
        if not (value > self.low or (value == self.low and not self.is_low_excluded)):
            return f"{'>' if self.is_low_excluded else '>='} {self.low:g}"
        return "" if value < self.high else f"< {self.high:.10g}"


# Upper bounds, since a config.json may come from a stranger: of loops that are unrolled, of tables in memory, of int32.
_LOOPS, _TABLES, _INT32 = 1000, 2**20, 2**31
_NAMES = {
    Range(-math.inf, is_low_excluded=True): "teacher_guidance time_mean",
    Range(0, is_low_excluded=True): """
        alpha churn_noise latent_scale learning_rate min_snr_gamma sigma_data sigma_max sigma_min snr std time_std""",
    Range(0): """
        beta churn churn_max churn_min commitment eta feature_matching_weight minimum_kl noise penalty_weight r1_gamma
        restart_below rule_weight weight_decay z_weight""",
    Range(0, 1): """
        codebook_decay condition_dropout dropout ema_decay judge_split label_smoothing max_broken smoothing
        token_dropout""",
    Range(0, 2**32): "seed",
    Range(0, _INT32): """
        checkpoint_every eval_every head_width minibatch_kernels num_kv_heads num_warmup_steps sample_every
        warmup_steps""",
    Range(-1, _INT32): "data",
    Range(0, _LOOPS): "data_workers num_blocks num_probes unroll",
    Range(1, _INT32): """
        attention_resolutions batch_size channel_multipliers code_dim critic_widths discriminator_width exchange
        generator_width image_shape keep_checkpoints latent_dim latent_dims latent_shape length log_every mixer_width
        mlp_ratio num_features num_to_one num_train patch_size r1_every schedule_steps steps width widths""",
    Range(1, _TABLES): """
        chunk_size first_intervals fsdp last_intervals num_classes num_codes num_importance_samples num_labels
        num_microbatches num_prompt_tokens num_steps num_train_steps rank steps_per_call tensor""",
    Range(1, _LOOPS): "depth mixer_depth n_critic num_corrections num_restarts restart_steps",
    Range(2, _LOOPS): "num_levels",
}

RANGES = {name: within for within, names in _NAMES.items() for name in names.split()}
"""The range of each number by the name of its setting, in whichever group of settings it stands."""


_MAX_ENTRIES = 100


def validate(config: TrainConfig) -> None:
    """Refuse settings that are out of range or contradict each other, before anything is opened or written."""
    check_ranges(config)
    if config.batch_size % config.num_microbatches:
        raise UsageError(
            f"expected a batch size that is a multiple of num_microbatches, got {config.batch_size} and "
            f"{config.num_microbatches}: change --batch-size or --num-microbatches"
        )
    if config.parallel not in PARALLEL_MODES:
        modes = ", ".join(PARALLEL_MODES)
        raise UsageError(f"expected parallel to be one of {modes}, got {config.parallel!r}: set --parallel")
    if config.best_metric is not None and config.eval_every == 0:
        raise UsageError(
            f"best_metric {config.best_metric!r} is never measured with eval_every 0: set --eval-every, "
            "or --best-metric None"
        )


def check_ranges(settings: Any) -> None:
    """Refuse numbers out of :data:`RANGES` among settings, those of their groups too."""
    for path, value in _settings(settings, ""):
        within = RANGES.get(path.rpartition(".")[2])
        if isinstance(value, tuple) and len(value) > _MAX_ENTRIES:
            raise UsageError(f"expected at most {_MAX_ENTRIES} entries of {path}, got {len(value)}: set {option(path)}")
        for number in value if isinstance(value, tuple) else (value,):
            if within and isinstance(number, int | float) and (bound := within.violated_by(number)):
                raise UsageError(f"expected {path} {bound}, got {value}: set {option(path)} to such a number")


def _settings(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """``(path, value)`` of every setting: ``("generator.width", 64)``."""
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        if dataclasses.is_dataclass(value):
            yield from _settings(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value
