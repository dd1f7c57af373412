"""What a report looks at: a model as functions of sample numbers, and a judge of examples, as one shape for all.

A GAN, a VAE and a diffusion model differ in which of these functions they have; what one lacks the report leaves out
and says so.
"""

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
"""A :data:`Sampler` that also gives ``{detector: score [num]}`` of each sample's making."""


Reconstructor = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""``(images float32 [num, H, W, C] in [-1, 1], condition or None) -> what comes back of them``."""


class PairedVariant(NamedTuple):
    """The model with one thing changed: sample i has the noise and the condition of the model's own sample i.

    Attributes:
        measurement: the measurement it is for, ``checkpoint_consistency`` say.
        title: what was changed: "checkpoint of step 1250".
        sample_fn: draws the counterparts.
    """

    measurement: str
    title: str
    sample_fn: Sampler


class Variant(NamedTuple):
    """The model at one point of a sweep.

    Attributes:
        sweep: which figure it belongs to: ``sampler``, ``guidance``, ``truncation``.
        series: which curve of it: the name of the sampler.
        x: where on the axis: number of evaluations, guidance weight.
        sample_fn: draws samples.
        is_ideal: whether the world's own exact denoiser takes the place of the network: the floor.
    """

    sweep: str
    series: str
    x: float
    sample_fn: Sampler
    is_ideal: bool = False


class Replication(NamedTuple):
    """The same samples, computed another way.

    Attributes:
        title: what was different: "batches of 16".
        sample_fn: draws them.
        tolerance: largest difference that rounding explains; 0 where results must be equal bit for bit.
        is_judged: whether a difference lights the light, or is only told: another compilation may round otherwise.
        gross: a difference that no rounding explains. Where given, the light is judged by it in place of the
            tolerance: lit where more than half of the samples differ by more, as those do that see their neighbours.
        max_seconds: seconds that drawing the samples may take, for the replication to be made at all.
        is_eight_bit: whether they come from a file of 8 bits: the samples are rounded so before they are compared.
    """

    title: str
    sample_fn: Sampler
    tolerance: float = 0.0
    is_eight_bit: bool = False
    is_judged: bool = True
    gross: float | None = None
    max_seconds: float = math.inf


class NamedDetector(NamedTuple):
    """A detector of given samples.

    Attributes:
        name: what it is called.
        score_fn: scores samples.
        is_typical_best: see :class:`aigc_jax.types.Detector`.
    """

    name: str
    score_fn: Scorer
    is_typical_best: bool = False


class EvaluatedModel(NamedTuple):
    """The model that is measured.

    Attributes:
        sample_fn: draws its samples.
        num_classes: conditions are 0 ... num_classes - 1; None for an unconditional model.
        modality: the kind of its samples.
        withheld: conditions that its training data never showed.
        repeats: the same samples once more, for determinism.
        counterparts: the model with one thing changed.
        detectors: what scores given samples.
        trace_fn: samples with scores of their making, or None.
        variants: points of sweeps.
        guidance: the guidance weight that its samples are drawn with; None for a model without guidance.
        takes_rescaling: whether guidance can be rescaled, and kept to an interval of noise levels.
        path_lengths: lengths [num] of the path in feature space per unit of latent, or None.
        latent_changes: changes [num, ...] of the first samples per unit of their latents, or None.
        accuracy_fn: ``(images, condition) -> {"accuracy_from_samples", "accuracy_on_samples"}`` as (right, n), or None.
        reconstruct: encodes images and decodes them again, or None where the model cannot.
        left_out: ``{name: why the model has no such thing}``.
    """

    sample_fn: Sampler
    num_classes: int | None = None
    modality: Modality = IMAGE
    withheld: Sequence[int] = ()
    replications: Sequence[Replication] = ()
    paired_variants: Sequence[PairedVariant] = ()
    detectors: Sequence[NamedDetector] = ()
    trace_fn: Tracer | None = None
    variants: Sequence[Variant] = ()
    guidance: float | None = None
    takes_rescaling: bool = False
    path_lengths: Callable[[int], np.ndarray] | None = None
    latent_changes: Callable[[int], np.ndarray] | None = None
    accuracy_fn: Callable[[np.ndarray, np.ndarray], Mapping[str, tuple[int, int]]] | None = None
    reconstruct: Reconstructor | None = None
    left_out: Mapping[str, str] = {}
