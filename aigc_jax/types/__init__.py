"""The contracts between the rooms of the library.

A method (a GAN, a VAE, a diffusion model) is an :class:`Algorithm`: a tuple of pure functions. It is built from one or
more :class:`Player` entries by :func:`aigc_jax.players.make_step`; the trainer, the sampler and the report see nothing
but the :class:`Algorithm`. This package imports :mod:`aigc_jax.errors` and nothing else of ours.
"""

from aigc_jax.errors import UsageError
from aigc_jax.types.algorithm import (
    Algorithm,
    Autoencoder,
    DenoiseFn,
    Denoising,
    Detector,
    DrawFn,
    DrawSequencesFn,
    ExactDenoiseFn,
    Guidance,
    Latents,
    SampleFn,
    ScoreFn,
    SequenceModel,
    Sequences,
    StepFn,
)
from aigc_jax.types.base import (
    NUM_BYTES,
    NUM_TOKENS,
    Batch,
    Condition,
    Key,
    Keys,
    LossFn,
    LossTransform,
    Metrics,
    Player,
    PyTree,
    TrainState,
    Variables,
    Weighted,
)
from aigc_jax.types.data import Data, DataSource, Experiment, Metric, Readings, World
from aigc_jax.types.modality import Conditions, Modality, ShowFn, WriteFn

__all__ = [
    "NUM_BYTES",
    "NUM_TOKENS",
    "Algorithm",
    "Autoencoder",
    "Batch",
    "Condition",
    "Conditions",
    "Data",
    "DataSource",
    "DenoiseFn",
    "Denoising",
    "Detector",
    "DrawFn",
    "DrawSequencesFn",
    "ExactDenoiseFn",
    "Experiment",
    "Guidance",
    "Key",
    "Keys",
    "Latents",
    "LossFn",
    "LossTransform",
    "Metric",
    "Metrics",
    "Modality",
    "Player",
    "PyTree",
    "Readings",
    "SampleFn",
    "ScoreFn",
    "SequenceModel",
    "Sequences",
    "ShowFn",
    "StepFn",
    "TrainState",
    "UsageError",
    "Variables",
    "Weighted",
    "World",
    "WriteFn",
]
