"""Sets of examples with the judge's predictions: drawn from a model, or read from the data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from aigc_jax.data.arrays import take
from aigc_jax.data.images import IMAGE
from aigc_jax.evaluation.judge import Judge, Predictions
from aigc_jax.evaluation.model import EvaluatedModel, Sampler
from aigc_jax.progress import Progress
from aigc_jax.types import DataSource, Modality, UsageError

BATCH_SIZE = 256
"""Examples that are drawn and judged at once: a multiple of the blocks that samples are computed in."""

MAX_BYTES = 2**30
"""Memory for one set of real examples; of more, as many are drawn at random."""


class Examples(NamedTuple):
    """A set of examples."""

    values: np.ndarray
    """As they are stored: images as uint8 [N, H, W, C], points as float32 [N, D]."""
    condition: Int[np.ndarray, " num"] | None
    """The class of each; None where there is none."""
    predictions: Predictions
    modality: Modality = IMAGE

    @property
    def num(self) -> int:
        """Their number."""
        return len(self.values)

    @property
    def judged_class(self) -> Int[np.ndarray, " num"]:
        """The predicted class of each, or -1 where a world finds it invalid."""
        predicted, violation = np.asarray(self.predictions.predicted), self.predictions.violation
        return predicted if violation is None else np.where(violation == 0, predicted, -1)

    @property
    def is_right(self) -> Bool[np.ndarray, " num"]:
        """Whether the judged class is the condition."""
        return self.judged_class == self.condition

    def loaded(self) -> np.ndarray:
        """The examples as models see them: images as float32 in [-1, 1]."""
        return self.modality.load(self.values)

    def select(self, index: np.ndarray | slice) -> Examples:
        """The examples at ``index``."""
        chosen = _each_array(lambda values: values[0][index], [self.predictions])
        condition = None if self.condition is None else self.condition[index]
        return Examples(self.values[index], condition, chosen, self.modality)


def conditions_in_turn(start: int, num: int, num_classes: int | None) -> np.ndarray | None:
    """The conditions of samples start ... start + num - 1: ``i % num_classes``."""
    return None if num_classes is None else (np.arange(start, start + num) % num_classes).astype(np.int32)


def draw(model: EvaluatedModel, sample_fn: Sampler, judge: Judge, num: int, *, title: str) -> Examples:
    """The first samples of a model, or of a variant of it, with the judge's predictions."""

    def read(start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        condition = conditions_in_turn(start, count, model.num_classes)
        if model.conditions is not None:
            condition = model.conditions[start : start + count]
        samples = np.asarray(sample_fn(start, condition, count))
        if num_broken := int((~np.isfinite(samples.reshape(count, -1))).any(axis=1).sum()):
            raise UsageError(
                f"{num_broken} of the samples {start} to {start + count - 1} hold NaN or Inf: "
                "evaluate an earlier checkpoint, or train again"
            )
        stored = model.modality.store(samples)
        # A judge of the same kind sees samples as the model made them, not as they are rounded in files.
        is_same = judge.modality.load is model.modality.load
        return stored, samples if is_same else judge.modality.load(stored), condition

    return _collect(read, judge, num, title, model.modality)


def real(source: DataSource, judge: Judge, num: int, *, title: str, modality: Modality = IMAGE) -> Examples:
    """At most ``num`` real examples with the judge's predictions, fewer where they need more than :data:`MAX_BYTES`.

    In a fixed random order: files are often sorted by class.
    """
    order = np.random.default_rng(0).permutation(len(source))

    def read(start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        batch = take(source, order[start : start + count])
        stored = batch[modality.name]
        return stored, judge.modality.load(stored), batch.get("label")

    return _collect(read, judge, min(num, max_num(source, modality)), title, modality)


def stored_examples(source: DataSource, modality: Modality) -> np.ndarray:
    """All examples as they are stored, or as many drawn at random as :data:`MAX_BYTES` hold as float32."""
    order = np.random.default_rng(0).permutation(len(source))[: max_num(source, modality, itemsize=4)]
    return take(source, np.sort(order))[modality.name]


def max_num(source: DataSource, modality: Modality, itemsize: int | None = None) -> int:
    """The number of examples of a source that :data:`MAX_BYTES` hold."""
    example = np.asarray(source[0][modality.name])
    return min(len(source), max(MAX_BYTES // max(example.size * (itemsize or example.itemsize), 1), 1))


def _collect(
    read: Callable[[int, int], tuple[np.ndarray, np.ndarray, np.ndarray | None]],
    judge: Judge,
    num: int,
    title: str,
    modality: Modality,
) -> Examples:
    """Examples that ``read`` gives in blocks: as they are stored, as the judge sees them, and their conditions."""
    parts: list[Examples] = []
    with Progress(num, title, "example") as bar:
        for start in range(0, num, BATCH_SIZE):
            stored, seen, condition = read(start, min(BATCH_SIZE, num - start))
            parts.append(Examples(stored, condition, judge.predict(seen), modality))
            bar.update(len(stored))
    predictions = _each_array(np.concatenate, [part.predictions for part in parts])
    has_condition = parts[0].condition is not None
    condition = np.concatenate([np.asarray(part.condition) for part in parts]) if has_condition else None
    return Examples(np.concatenate([part.values for part in parts]), condition, predictions, modality)


def _each_array(change: Callable[[list[np.ndarray]], np.ndarray], sets: list[Predictions]) -> Predictions:
    """One set of predictions of several, field by field; None stays None."""
    fields: dict[str, Any] = {
        name: None if value is None else change([getattr(predictions, name) for predictions in sets])
        for name, value in sets[0]._asdict().items()
        if name != "attributes"
    }
    attributes = {name: change([predictions.attributes[name] for predictions in sets]) for name in sets[0].attributes}
    return Predictions(**fields, attributes=attributes)


def match_class_counts(samples: Examples, held_out: Examples, *, is_equal: bool) -> tuple[Examples, Examples]:
    """Samples and held-out examples of the same classes, equally many or in the same shares.

    Samples have all classes in turn; real classes have shares of their own, and withheld ones none. That is no fault
    of the model, and must not pass for one.
    """
    if samples.condition is None or held_out.condition is None:
        return samples, held_out
    ours, theirs = np.asarray(samples.condition), np.asarray(held_out.condition)
    num_classes = 1 + int(max(ours.max(), theirs.max()))
    num_ours, num_theirs = (np.bincount(each, minlength=num_classes) for each in (ours, theirs))
    is_shown = (num_ours > 0) & (num_theirs > 0)
    if not is_shown.any():
        return samples, held_out
    # As many of each class, or where numbers may differ as large a part of each.
    share = 1.0 if is_equal else float((num_theirs[is_shown] / num_ours[is_shown]).min())
    wanted = np.where(is_shown, np.minimum(num_theirs, np.floor(share * num_ours)), 0).astype(np.int64)
    kept = np.minimum(num_ours, wanted) if is_equal else np.where(is_shown, num_ours, 0)
    return samples.select(_first_per_class(ours, kept)), held_out.select(_first_per_class(theirs, wanted))


def _first_per_class(condition: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Numbers of the first so many examples of each class, in their order."""
    rank = np.zeros(len(condition), np.int64)
    for each in range(len(counts)):
        rank[condition == each] = np.arange(np.sum(condition == each))
    return np.flatnonzero(rank < counts[condition])


def first_occurrences(values: np.ndarray) -> Int[np.ndarray, " num_distinct"]:
    """Numbers of the examples [N, ...] that equal no earlier one, rising."""
    return np.sort(np.unique(_digests(values), return_index=True)[1])


def repeated_pairs(sets: Sequence[np.ndarray]) -> int:
    """Number of pairs of equal examples [N, ...], within and across the sets."""
    counts = np.bincount(numbered(sets))
    return int(np.sum(counts * (counts - 1) // 2))


def numbered(sets: Sequence[np.ndarray]) -> Int[np.ndarray, " num"]:
    """The examples of the sets [N, ...] together as numbers, equal ones for equal examples."""
    return np.unique(np.concatenate([_digests(each) for each in sets]), return_inverse=True)[1]


def _digests(values: np.ndarray) -> np.ndarray:
    """Equal for equal examples, and much shorter to sort than large ones."""
    rows = values.reshape(len(values), -1)
    rows = rows + rows.dtype.type(0)  # -0.0 equals 0.0
    return np.array([hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows], "S16")
