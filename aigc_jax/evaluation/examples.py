"""The sets of examples that a report compares, and what the judge says of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.data.arrays import take
from aigc_jax.data.images import to_float, to_uint8
from aigc_jax.evaluation.judge import Judge, Predictions
from aigc_jax.evaluation.model import Sampler
from aigc_jax.progress import Progress
from aigc_jax.types import DataSource, UsageError

BATCH_SIZE = 256
"""Examples that are drawn and judged at once: a multiple of the blocks that samples are computed in."""


class Examples(NamedTuple):
    """A set of examples.

    Attributes:
        values: images as uint8 [N, H, W, C], or anything else as float32.
        condition: the class of each, int32 [N], or None where there is none.
        verdicts: what the judge says.
    """

    values: np.ndarray
    condition: Int[np.ndarray, " num"] | None
    verdicts: Predictions

    @property
    def num(self) -> int:
        """How many."""
        return len(self.values)

    def floats(self, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The examples at ``index`` as models take them: float32, images in [-1, 1]."""
        chosen = self.values[index]
        return to_float(chosen) if chosen.dtype == np.uint8 else chosen

    def select(self, index: np.ndarray | slice) -> Examples:
        """The examples at ``index``."""
        chosen = _each_array(lambda values: values[0][index], [self.verdicts])
        return Examples(self.values[index], None if self.condition is None else self.condition[index], chosen)


def condition_of(start: int, num: int, num_classes: int | None) -> np.ndarray | None:
    """The conditions of samples start ... start + num - 1: the classes in turn.

    >>> condition_of(3, 4, 5)
    array([3, 4, 0, 1], dtype=int32)
    """
    return None if num_classes is None else (np.arange(start, start + num) % num_classes).astype(np.int32)


def draw(
    sample_fn: Sampler, judge: Judge, num: int, *, num_classes: int | None, title: str, start: int = 0
) -> Examples:
    """Draw samples, and have them judged.

    Args:
        sample_fn: draws them.
        judge: looks at them.
        num: how many.
        num_classes: of the model; None for an unconditional one.
        title: what the progress bar says.
        start: number of the first.

    Returns:
        The samples.

    Raises:
        UsageError: some hold NaN or Inf.
    """

    def read(first: int, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        condition = condition_of(start + first, count, num_classes)
        samples = np.asarray(sample_fn(start + first, condition, count), np.float32)
        if num_broken := int((~np.isfinite(samples.reshape(count, -1))).any(axis=1).sum()):
            raise UsageError(
                f"{num_broken} of the samples {start + first} to {start + first + count - 1} hold NaN or Inf: "
                "evaluate an earlier checkpoint, or train again"
            )
        return samples, condition

    return _collect(read, judge, num, title)


def real(source: DataSource, judge: Judge, num: int, *, title: str) -> Examples:
    """Read real examples in a fixed random order (files are often sorted by class), and have them judged.

    Args:
        source: where they are.
        judge: looks at them.
        num: how many at most.
        title: what the progress bar says.

    Returns:
        The examples.
    """
    order = np.random.default_rng(0).permutation(len(source))

    def read(first: int, count: int) -> tuple[np.ndarray, np.ndarray | None]:
        batch = take(source, order[first : first + count])
        name = next(name for name in batch if name != "label")
        values = to_float(batch[name]) if batch[name].dtype == np.uint8 else np.asarray(batch[name], np.float32)
        return values, batch.get("label")

    return _collect(read, judge, min(num, len(source)), title)


def _collect(
    read: Callable[[int, int], tuple[np.ndarray, np.ndarray | None]], judge: Judge, num: int, title: str
) -> Examples:
    parts: list[Examples] = []
    # disable=None: no bar where nobody watches (a file, a pipe).
    with Progress(num, title, "example") as bar:
        for first in range(0, num, BATCH_SIZE):
            values, condition = read(first, min(BATCH_SIZE, num - first))
            kept = to_uint8(values) if values.ndim == 4 else values
            parts.append(Examples(kept, condition, judge.predict(values)))
            bar.update(len(values))
    verdicts = _each_array(np.concatenate, [part.verdicts for part in parts])
    has_condition = parts[0].condition is not None
    condition = np.concatenate([np.asarray(part.condition) for part in parts]) if has_condition else None
    return Examples(np.concatenate([part.values for part in parts]), condition, verdicts)


def _each_array(change: Callable[[list[np.ndarray]], np.ndarray], said: list[Predictions]) -> Predictions:
    """One set of verdicts of several: each field, by its name, and each attribute; None stays None."""
    fields: dict[str, Any] = {
        name: None if value is None else change([getattr(verdicts, name) for verdicts in said])
        for name, value in said[0]._asdict().items()
        if name != "attributes"
    }
    attributes = {name: change([verdicts.attributes[name] for verdicts in said]) for name in said[0].attributes}
    return Predictions(**fields, attributes=attributes)
