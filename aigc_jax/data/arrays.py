"""Data sources that live in memory, and views on other sources."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, Shaped

from aigc_jax.data.images import IMAGE
from aigc_jax.types import Data, DataSource, Modality, UsageError

BLOCK = 1024
"""Examples that are checked at once."""

NUM_HASHED = 64
"""Evenly spaced examples of a part of a data set in its checksum."""

MAX_CACHE_BYTES = 2**28
"""Size limit of :class:`CachedSource`: 256 MiB, enough for all of CIFAR-10 or MNIST."""


def take(source: DataSource, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
    """Several examples as one batch, stacked along a new first axis.

    A source may have a method ``take(indices)`` that is faster than one example at a time; all of this room do.
    """
    fast = getattr(source, "take", None)
    if fast is not None:
        return fast(indices)
    examples = [source[int(index)] for index in indices]
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def evenly_spaced(num: int, most: int = NUM_HASHED) -> Int[np.ndarray, " chosen"]:
    """At most ``most`` evenly spaced indices of ``num`` examples."""
    return np.unique(np.linspace(0, num - 1, most).astype(int))


class ArraySource:
    """Examples and labels from arrays: images as uint8 [N, H, W, C], points as float32 [N, D].

    >>> ArraySource(np.zeros((3, 2, 2, 1), np.uint8), np.array([7, 8, 9]))[1]["label"]
    array(8, dtype=int32)
    """

    def __init__(
        self,
        examples: Shaped[np.ndarray, "num ..."],
        labels: Int[np.ndarray, " num"] | None = None,
        *,
        name: str = IMAGE.name,
    ) -> None:
        if labels is not None and labels.shape != examples.shape[:1]:
            raise UsageError(
                f"expected a label for each of {len(examples)} examples, int [{len(examples)}], got an array of shape "
                f"{labels.shape}"
            )
        self.examples = examples
        self.name = name
        self.labels = None if labels is None else labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        example = {self.name: self.examples[index]}
        return example if self.labels is None else {**example, "label": np.asarray(self.labels[index])}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch."""
        batch = {self.name: self.examples[indices]}
        return batch if self.labels is None else {**batch, "label": self.labels[indices]}


Arrays = np.ndarray | tuple[np.ndarray, ...] | list[np.ndarray] | Mapping[str, np.ndarray]
"""``(examples, labels)``, ``(examples,)``, or a mapping from the modality's name and ``label`` to them."""


def as_source(given: DataSource | Arrays, modality: Modality = IMAGE) -> DataSource:
    """A data source as it is, or one of arrays, which are checked."""
    if isinstance(given, tuple | list):
        given = dict(zip((modality.name, "label"), given, strict=False)) if len(given) <= 2 else {}
    if isinstance(given, np.ndarray):
        given = {modality.name: given}
    expected = f"expected a data source, ({modality.name}s, labels) or {{{modality.name!r}: ..., 'label': ...}}"
    if isinstance(given, Mapping):
        arrays = {name: np.asarray(values) for name, values in given.items()}
        if modality.name not in arrays or arrays.keys() - {modality.name, "label"}:
            raise UsageError(f"{expected}, got arrays of {', '.join(arrays) or 'other entries'}: rename them")
        examples, labels = arrays[modality.name], arrays.get("label")
        if labels is not None and not np.issubdtype(labels.dtype, np.integer):
            raise UsageError(f"expected labels as integers [{len(examples)}], got {labels.dtype}: convert them")
        for start in range(0, len(examples), BLOCK):
            modality.load(examples[start : start + BLOCK])  # checks dtype and range
        return ArraySource(examples, labels, name=modality.name)
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise UsageError(f"{expected}, got a {type(given).__name__}: give its data set, or arrays")
    if not hasattr(given, "take") and not isinstance(given[0], Mapping):
        raise UsageError(f"{expected}, got examples of type {type(given[0]).__name__}: give arrays")
    return given


class SubsetSource:
    """Some examples of a source, in a given order."""

    def __init__(self, source: DataSource, indices: Int[np.ndarray, " num"]) -> None:
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.source[int(self.indices[index])]

    @property
    def labels(self) -> Int[np.ndarray, " num"] | None:
        """The label of each example, where the source knows them without reading it."""
        labels = getattr(self.source, "labels", None)
        return None if labels is None else labels[self.indices]

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch."""
        return take(self.source, self.indices[indices])


MIN_TO_RESERVE = 50_000
"""From this many training examples on, a tenth is reserved for judges unless a share is given."""


def reserve_for_judges(data: Data, share: float | None) -> Data:
    """Data of whose training examples a share, drawn at random and always the same, is kept for judges alone.

    With ``share`` None a tenth is kept where there are :data:`MIN_TO_RESERVE` examples, and else none.

    >>> source = ArraySource(np.zeros((10, 1, 1, 1), np.uint8), np.arange(10))
    >>> data = reserve_for_judges(Data("ten", source, source, ()), 0.3)
    >>> len(data.train), len(data.for_judges)
    (7, 3)
    """
    if share is None:
        share = 0.1 if len(data.train) >= MIN_TO_RESERVE else 0.0
    if not share:
        return data
    order, num = np.random.default_rng(0).permutation(len(data.train)), round(share * len(data.train))
    if not 0 < num < len(data.train):
        raise UsageError(
            f"--judge-split {share:g} of {len(data.train)} training examples leaves one side empty: pass 0.2"
        )
    judges, train = (SubsetSource(data.train, np.sort(part)) for part in (order[:num], order[num:]))
    remarks = [*data.remarks, f"{num} training examples are reserved for judges"]
    return data._replace(train=train, for_judges=judges, remarks=remarks, checksum=None)


def chosen_examples(total: int, num: int, seed: int) -> Int[np.ndarray, " num"]:
    """The examples of :func:`random_subset`, in order."""
    return np.sort(np.random.default_rng(seed).permutation(total)[:num])


def random_subset(data: Data, num: int, seed: int) -> Data:
    """Data with so many of its training examples, drawn at random by a seed.

    >>> source = ArraySource(np.zeros((10, 1, 1, 1), np.uint8), np.arange(10))
    >>> len(random_subset(Data("ten", source, source, ()), 4, seed=0).train)
    4
    """
    total = len(data.train)
    if num > total:
        raise UsageError(f"{data.name} has {total} training examples, got --num-labels {num}: ask for fewer")
    chosen = chosen_examples(total, num, seed)
    remarks = [*data.remarks, f"{num} of {total} training examples by seed {seed}"]
    return data._replace(train=SubsetSource(data.train, chosen), remarks=remarks, checksum=None)


class CachedSource:
    """A source whose examples, each of one shape and dtype, stay in memory once read, if all fit in ``max_bytes``.

    >>> source = CachedSource(ArraySource(np.zeros((3, 2, 2, 1), np.uint8), np.array([7, 8, 9])))
    >>> source.take(np.array([2, 2, 0]))["label"]
    array([9, 9, 7], dtype=int32)
    """

    def __init__(self, source: DataSource, *, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self.source = source
        first = source[0]
        fits = len(source) * sum(value.nbytes for value in first.values()) <= max_bytes
        # np.empty: the operating system gives memory only to what is filled.
        self._columns = {name: np.empty((len(source), *v.shape), v.dtype) for name, v in first.items()} if fits else {}
        self._is_filled = np.zeros(len(source), bool)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    @property
    def labels(self) -> Int[np.ndarray, " num"] | None:
        """The label of each example, where the source knows them without reading it."""
        return getattr(self.source, "labels", None)

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch; safe to call from several threads."""
        if not self._columns:
            return take(self.source, indices)
        missing = np.unique(indices[~self._is_filled[indices]])
        if missing.size:
            fresh = take(self.source, missing)
            for name, column in self._columns.items():
                column[missing] = fresh[name]
            # Last: a thread that sees the mark sees the example. Two threads may both read one, with equal results.
            self._is_filled[missing] = True
        return {name: column[indices] for name, column in self._columns.items()}
