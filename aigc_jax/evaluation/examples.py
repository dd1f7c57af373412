"""The sets of examples that a report compares, and what the judge says of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.data.arrays import take
from aigc_jax.data.images import IMAGE
from aigc_jax.evaluation.judge import Judge, Predictions
from aigc_jax.evaluation.model import Sampler
from aigc_jax.progress import Progress
from aigc_jax.types import DataSource, Modality, UsageError

BATCH_SIZE = 256
"""Examples that are drawn and judged at once: a multiple of the blocks that samples are computed in."""


class Examples(NamedTuple):
    """A set of examples.

    Attributes:
        values: as they are stored: images as uint8 [N, H, W, C], points as float32 [N, D].
        condition: the class of each, int32 [N], or None where there is none.
        verdicts: what the judge says.
        modality: the kind of the examples.
    """

    values: np.ndarray
    condition: Int[np.ndarray, " num"] | None
    verdicts: Predictions
    modality: Modality = IMAGE

    @property
    def num(self) -> int:
        """How many."""
        return len(self.values)

    def loaded(self) -> np.ndarray:
        """The examples as models see them: images as float32 in [-1, 1]."""
        return self.modality.load(self.values)

    def select(self, index: np.ndarray | slice) -> Examples:
        """The examples at ``index``."""
        chosen = _each_array(lambda values: values[0][index], [self.verdicts])
        condition = None if self.condition is None else self.condition[index]
        return Examples(self.values[index], condition, chosen, self.modality)


def condition_of(start: int, num: int, num_classes: int | None) -> np.ndarray | None:
    """The conditions of samples start ... start + num - 1: the classes in turn.

    >>> condition_of(3, 4, 5)
    array([3, 4, 0, 1], dtype=int32)
    """
    return None if num_classes is None else (np.arange(start, start + num) % num_classes).astype(np.int32)


def draw(
    sample_fn: Sampler,
    judge: Judge,
    num: int,
    *,
    num_classes: int | None,
    title: str,
    start: int = 0,
    modality: Modality = IMAGE,
) -> Examples:
    """Draw samples, and have them judged.

    Args:
        sample_fn: draws them.
        judge: looks at them.
        num: how many.
        num_classes: of the model; None for an unconditional one.
        title: what the progress bar says.
        start: number of the first.
        modality: the kind of the samples.

    Returns:
        The samples.

    Raises:
        UsageError: some hold NaN or Inf.
    """

    def read(first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        condition = condition_of(start + first, count, num_classes)
        samples = np.asarray(sample_fn(start + first, condition, count))
        if num_broken := int((~np.isfinite(samples.reshape(count, -1))).any(axis=1).sum()):
            raise UsageError(
                f"{num_broken} of the samples {start + first} to {start + first + count - 1} hold NaN or Inf: "
                "evaluate an earlier checkpoint, or train again"
            )
        stored = modality.store(samples)
        # A judge of the same kind sees samples as the model made them, not as they are rounded in files.
        is_same = judge.modality.load is modality.load
        return stored, samples if is_same else judge.modality.load(stored), condition

    return _collect(read, judge, num, title, modality)


def real(source: DataSource, judge: Judge, num: int, *, title: str, modality: Modality = IMAGE) -> Examples:
    """Read real examples in a fixed random order (files are often sorted by class), and have them judged.

    Args:
        source: where they are.
        judge: looks at them.
        num: how many at most.
        title: what the progress bar says.
        modality: the kind of the examples.

    Returns:
        The examples.
    """
    order = np.random.default_rng(0).permutation(len(source))

    def read(first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        batch = take(source, order[first : first + count])
        stored = batch[modality.name]
        return stored, judge.modality.load(stored), batch.get("label")

    return _collect(read, judge, min(num, len(source)), title, modality)


def _collect(
    read: Callable[[int, int], tuple[np.ndarray, np.ndarray, np.ndarray | None]],
    judge: Judge,
    num: int,
    title: str,
    modality: Modality,
) -> Examples:
    """Examples that ``read`` gives in blocks: as they are stored, as the judge sees them, and their conditions."""
    parts: list[Examples] = []
    # disable=None: no bar where nobody watches (a file, a pipe).
    with Progress(num, title, "example") as bar:
        for first in range(0, num, BATCH_SIZE):
            stored, seen, condition = read(first, min(BATCH_SIZE, num - first))
            parts.append(Examples(stored, condition, judge.predict(seen), modality))
            bar.update(len(stored))
    verdicts = _each_array(np.concatenate, [part.verdicts for part in parts])
    has_condition = parts[0].condition is not None
    condition = np.concatenate([np.asarray(part.condition) for part in parts]) if has_condition else None
    return Examples(np.concatenate([part.values for part in parts]), condition, verdicts, modality)


def _each_array(change: Callable[[list[np.ndarray]], np.ndarray], said: list[Predictions]) -> Predictions:
    """One set of verdicts of several: each field, by its name, and each attribute; None stays None."""
    fields: dict[str, Any] = {
        name: None if value is None else change([getattr(verdicts, name) for verdicts in said])
        for name, value in said[0]._asdict().items()
        if name != "attributes"
    }
    attributes = {name: change([verdicts.attributes[name] for verdicts in said]) for name in said[0].attributes}
    return Predictions(**fields, attributes=attributes)
