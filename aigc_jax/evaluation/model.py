"""A trained model as the evaluation sees it: functions of sample numbers, one shape for all methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aigc_jax.data.images import IMAGE
from aigc_jax.types import Modality

Sampler = Callable[[int, np.ndarray | None, int], Any]
"""``(start, condition int32 [num] or None, num) -> examples`` of the samples start ... start + num - 1."""

Scorer = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]
"""``(examples [num, ...], condition or None, start) -> score [num]``; higher is less reliable."""

Tracer = Callable[[int, np.ndarray | None, int], tuple[np.ndarray, dict[str, np.ndarray]]]
"""A :data:`Sampler` with ``{detector: score [num]}`` of the way each sample was computed."""

Reconstructor = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""``(images float32 [num, H, W, C] in [-1, 1], condition or None) -> reconstructions``."""

AccuracyFn = Callable[[np.ndarray, np.ndarray], Mapping[str, tuple[int, int]]]
"""``(stored samples [num, ...], condition int [num]) -> {name: (number right, n)}``."""


class PairedVariant(NamedTuple):
    """The model with one thing changed: sample i has the noise and the condition of the model's own sample i."""

    measurement: str
    """The measurement that it is for, ``checkpoint_consistency``."""
    title: str
    """The change: "checkpoint of step 1250"."""
    sample_fn: Sampler


class Variant(NamedTuple):
    """The model at one point of a sweep."""

    series: str
    """Its curve: the name of the sampler, or ""."""
    x: float
    sample_fn: Sampler
    is_exact: bool = False
    """Whether the world's exact denoiser takes the place of the network: the floor of the sampler."""


class Sweep(NamedTuple):
    """The model under a range of settings."""

    name: str
    """Of its figure: ``guidance_sweep``."""
    title: str
    x_title: str
    variants: Sequence[Variant]
    is_rate: bool = False
    """Whether to plot the rate of violations, a curve per series; precision, recall and the like otherwise."""


class Replication(NamedTuple):
    """The same samples, computed another way ("in batches of 16")."""

    title: str
    sample_fn: Sampler
    tolerance: float = 0.0
    """Largest difference that rounding explains; 0 where results must be equal bit for bit."""
    is_judged: bool = True
    """Whether a difference above the tolerance fails the criterion; other programs may round otherwise."""
    large_difference: float | None = None
    """No rounding explains it: the criterion fails where more than half of the samples differ by more."""
    is_external: bool = False
    """Whether another process draws them meanwhile, into a file: the samples are stored before they are compared."""
    max_seconds: float = math.inf
    """The replication is left out where drawing the samples takes longer."""


class NamedDetector(NamedTuple):
    """A detector of violations by given samples; see :class:`aigc_jax.types.Detector`."""

    name: str
    score_fn: Scorer
    is_typical_best: bool = False


class EvaluatedModel(NamedTuple):
    """The model that is measured; sample i has condition ``i % num_classes``."""

    sample_fn: Sampler
    num_classes: int | None = None
    modality: Modality = IMAGE
    withheld: Sequence[int] = ()
    """Conditions that do not occur in its training data."""
    replications: Sequence[Replication] = ()
    paired_variants: Sequence[PairedVariant] = ()
    detectors: Sequence[NamedDetector] = ()
    trace_fn: Tracer | None = None
    sweeps: Sequence[Sweep] = ()
    sampling: Any = None
    path_lengths: Callable[[int], np.ndarray] | None = None
    """``num -> squared speeds [num]`` in feature space along paths between latents."""
    latent_changes: Callable[[int], np.ndarray] | None = None
    """``num -> changes [num, ...]`` of the first samples per unit of their latents."""
    accuracy_fn: AccuracyFn | None = None
    """Trains a classifier on samples."""
    reconstruct: Reconstructor | None = None
    token_nll: Callable[[np.ndarray], np.ndarray] | None = None
    """``tokens int32 [num, L] -> nats [num, L - 1]`` of each token but the first, 0 of padding."""
    left_out: Mapping[str, str] = {}
    """``{name: why the model has no such thing}``."""
    conditions: np.ndarray | None = None
    """Of given samples, int32 [N]; None for conditions in turn."""
    knows_training: bool = True
    """Whether the model was trained on the training examples."""
