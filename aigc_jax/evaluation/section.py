"""The evidence that all sections of an evaluation share, and the parts of a report that they return."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Unpack

import numpy as np
from jaxtyping import Bool, Int

from aigc_jax.evaluation.blocks import BLOCK, NUM_REFERENCE, Reference, balanced_order, block_statistics, make_reference
from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.examples import (
    Examples,
    draw,
    first_occurrences,
    match_class_counts,
    repeated_pairs,
    stored_examples,
)
from aigc_jax.evaluation.judge import Judge
from aigc_jax.evaluation.model import EvaluatedModel, Sampler
from aigc_jax.evaluation.trust import MIN_ACCURACY
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.metrics.knn_manifold import Overlap, overlap
from aigc_jax.metrics.neighbors import Manifold, manifold
from aigc_jax.report.figures import Figure
from aigc_jax.report.measurements import CriterionName, Details, Measurement, measure
from aigc_jax.report.schema import Check
from aigc_jax.types import Data, UsageError

NUM_NEIGHBORS, NUM_DENSITY_NEIGHBORS = 3, 5
"""k of precision and recall, and of density and coverage, as in the papers."""

TOO_FEW = "too few examples for nearest neighbours: ask for more samples"


class Settings(NamedTuple):
    """The extent of an evaluation."""

    num_samples: int = 5000
    num_detected: int = 1000
    """Samples that every detector scores; 0 leaves detectors out."""
    num_swept: int = 200
    """Samples at each point of a sweep; 0 leaves sweeps out."""
    min_judge_accuracy: float = MIN_ACCURACY
    """Accuracy on held-out data that a classifier needs to judge."""
    risk: float = 0.01
    """The risk that a calibrated filter guarantees, in (0, 1)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Samples, real examples, and what several sections compute of them, each computed once."""

    model: EvaluatedModel
    judge: Judge
    data: Data
    samples: Examples
    """Sample i has condition ``i % num_classes``."""
    held_out: Examples
    """Real examples that no training saw."""
    train: Examples
    """As many training examples as features are compared of."""
    settings: Settings = dataclasses.field(default_factory=Settings)

    def class_name(self, index: int) -> str:
        """The name of a class."""
        names = self.judge.class_names or self.data.class_names
        return str(names[index]) if index < len(names) else str(index)

    def draw(self, sample_fn: Sampler, num: int, title: str) -> Examples:
        """The first samples of a variant of the model."""
        return draw(self.model, sample_fn, self.judge, num, title=title)

    @functools.cached_property
    def num_real_pairs(self) -> int:
        """Number of pairs of equal real examples."""
        return repeated_pairs([self.held_out.values, self.train.values])

    @functools.cached_property
    def first_occurrences(self) -> Int[np.ndarray, " num_distinct"]:
        """Numbers of the samples that no earlier one equals."""
        return first_occurrences(self.samples.values)

    @functools.cached_property
    def distinct(self) -> Examples:
        """The samples without repetitions; all of them where real examples repeat themselves too."""
        return self.samples if self.num_real_pairs else self.samples.select(self.first_occurrences)

    @functools.cached_property
    def training_set(self) -> np.ndarray:
        """The training examples as they are stored: all that memory holds."""
        return stored_examples(self.data.train, self.model.modality)

    def features(self, examples: Examples) -> np.ndarray:
        """The features of examples; raises UsageError where the judge gives none."""
        if examples.predictions.features is None:
            raise UsageError(self.judge.why_none or f"{self.judge.name} gives no features")
        return examples.predictions.features

    @functools.cached_property
    def manifold(self) -> Manifold:
        """The first training examples with the distances to their nearest neighbours in feature space.

        As many at any number of samples: what lies among them depends on how many there are.
        """
        features = self.features(self.train)[:NUM_REFERENCE]
        if len(features) <= NUM_DENSITY_NEIGHBORS:
            raise UsageError(TOO_FEW)
        return manifold(features, NUM_DENSITY_NEIGHBORS, title="training examples")

    def overlap(self, examples: Examples) -> Overlap:
        """Examples compared with the training examples; raises UsageError for too few or no features."""
        if examples.num <= NUM_DENSITY_NEIGHBORS:
            raise UsageError(TOO_FEW)
        given = self.manifold, self.features(examples)
        return overlap(*given, k=NUM_NEIGHBORS, density_k=NUM_DENSITY_NEIGHBORS)

    @functools.cached_property
    def block_reference(self) -> Reference:
        """The training examples that blocks are compared with; raises UsageError for too few."""
        features = self.features(self.train)[:NUM_REFERENCE]
        if len(features) < BLOCK:
            raise UsageError(f"blocks of {BLOCK} training examples are compared with, there are {len(features)}")
        return make_reference(features, NUM_DENSITY_NEIGHBORS)

    @functools.cached_property
    def blocks(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The statistics of the blocks of samples, and of held-out examples with the same shares of classes."""
        sides = match_class_counts(self.distinct, self.held_out, is_equal=False)
        has_classes = all(side.condition is not None for side in sides)
        orders = [balanced_order(np.asarray(side.condition)) if has_classes else slice(None) for side in sides]
        samples, real = (
            block_statistics(self.features(side)[order], self.block_reference, NUM_NEIGHBORS, NUM_DENSITY_NEIGHBORS)
            for side, order in zip(sides, orders, strict=True)
        )
        return samples, real

    @functools.cached_property
    def inside(self) -> Overlap:
        """The samples compared with the training examples, see :meth:`overlap`."""
        return self.overlap(self.samples)

    @functools.cached_property
    def real_inside(self) -> Overlap:
        """The held-out examples compared with the training examples, see :meth:`overlap`."""
        return self.overlap(self.held_out)

    def violates(self, examples: Examples) -> Bool[np.ndarray, " num"]:
        """Whether each example is a violation: by the world, else of another class than requested, else off the data.

        Raises UsageError where the judge predicts nothing.
        """
        if examples.predictions.violation is not None:
            return examples.predictions.violation != 0
        # Held-out examples of an unconditional model have classes all the same.
        if self.model.num_classes is not None and examples.condition is not None and self._has_classes:
            return ~examples.is_right
        if min(examples.num, self.train.num) <= NUM_DENSITY_NEIGHBORS:
            self.features(examples)
            return np.zeros(examples.num, bool)
        return ~overlap(self.manifold, self.features(examples), k=NUM_NEIGHBORS).is_inside

    @property
    def violation_title(self) -> str:
        """The samples that :meth:`violates` counts, in words."""
        if self.judge.world is not None:
            return f"samples that {self.judge.world.name} forbids"
        if self.model.num_classes is not None and self._has_classes:
            return f"samples in which {self.judge.name} predicts another class (a proxy)"
        return "samples off the data in the features of " + self.judge.encoder_name

    @property
    def _has_classes(self) -> bool:
        return self.samples.predictions.predicted is not None


class Section(NamedTuple):
    """One part of a report."""

    criterion: CriterionName | None = None
    """The criterion that its checks decide; None for a part that decides none."""
    measurements: Sequence[Measurement] = ()
    """Most important first."""
    checks: Sequence[Comparison | Check] = ()
    """With held-out data, of whichever criterion each belongs to."""
    figures: Sequence[Figure] = ()
    left_out: Mapping[str, str] = {}
    """``{name: reason}`` of measurements and figures that could not be made."""
    headline: str = ""
    """Name of the measurement to print with the criterion; "" for none."""
    per_sample: Mapping[str, np.ndarray] = {}
    """``{name: array [num_samples, ...]}``, for comparisons of runs."""
    facts: Mapping[str, float] = {}
    """``{name: number}`` that recommendations need beyond measurements and figures."""
    is_applicable: bool = True
    """Whether its criterion can be asked of the model at all."""


def proportion(name: str, count: int, n: int, *, note: str = "", **details: Unpack[Details]) -> Measurement:
    """A measurement that is a share of n samples, with its exact interval; see :func:`measure`."""
    details["low"], details["high"] = clopper_pearson(count, n)
    return measure(name, count / n, n, note=note, **details)


def reason(error: UsageError) -> str:
    """The reason of an error without its advice, which is for callers of the function that raised it."""
    return str(error).partition(": ")[0]


def none_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
