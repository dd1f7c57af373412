"""Data sources that live in memory, and views on other sources."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8

from aigc_jax.types import DataSource


def take(source: DataSource, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
    """Several examples as one batch.

    A source may offer a method ``take(indices)`` of the same meaning that is faster than one example at a
    time; every source of this room does.

    Args:
        source: where from.
        indices: which, each in 0 ... len(source) - 1.

    Returns:
        The fields of the examples, stacked along a new first axis.

    >>> source = ArraySource(np.zeros((3, 2, 2, 1), np.uint8), np.array([7, 8, 9]))
    >>> take(source, np.array([2, 0]))["label"]
    array([9, 7], dtype=int32)
    """
    fast = getattr(source, "take", None)
    if fast is not None:
        return fast(indices)
    examples = [source[int(index)] for index in indices]
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


class ArraySource:
    """Examples from arrays.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: int32 [N], or None: then examples have no ``label``.

    >>> ArraySource(np.zeros((3, 2, 2, 1), np.uint8), np.array([7, 8, 9]))[1]["label"]
    array(8, dtype=int32)
    """

    def __init__(
        self,
        images: UInt8[np.ndarray, "num height width channels"],
        labels: Int[np.ndarray, " num"] | None,
    ) -> None:
        self.images = images
        self.labels = None if labels is None else labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        example = {"image": self.images[index]}
        return example if self.labels is None else {**example, "label": np.asarray(self.labels[index])}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch."""
        batch = {"image": self.images[indices]}
        return batch if self.labels is None else {**batch, "label": self.labels[indices]}
