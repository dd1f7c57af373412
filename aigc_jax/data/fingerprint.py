"""Fingerprints of data sets: whether the data are still those that a run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from aigc_jax.data.arrays import evenly_spaced, take
from aigc_jax.data.files import visible
from aigc_jax.types import Data, DataSource

MAX_NAMED = 10
"""Classes named in one line."""


class Fingerprint(NamedTuple):
    """Content of a data set in short; equal ones are the same data, wherever they are stored."""

    name: str
    num_train: int
    num_held_out: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]  # training examples of each class; () where unknown without reading all
    checksum: str


def fingerprint(data: Data) -> Fingerprint:
    """The fingerprint of an opened data set; reads a few examples of each part.

    >>> from aigc_jax.data.digits import digits
    >>> fingerprint(digits()).class_counts
    (400, 400, 400, 400, 400, 400, 400, 400, 400, 400)
    """
    labels = getattr(data.train, "labels", None)
    counts = () if labels is None else np.bincount(labels, minlength=len(data.class_names)).tolist()
    return Fingerprint(
        data.name,
        len(data.train),
        len(data.held_out),
        tuple(visible(name) for name in data.class_names),
        tuple(counts),
        data.checksum or hashlib.sha256(_hash(data.train) + _hash(data.held_out)).hexdigest(),
    )


def summary(data: Data) -> str:
    """One line on an opened data set: its size, classes and remarks.

    >>> from aigc_jax.data.digits import digits
    >>> summary(digits())
    'digits: 4000 train, 1000 held out, 10 classes (0 to 9)'
    """
    mark = fingerprint(data)
    parts = [f"{mark.num_train} train", f"{mark.num_held_out} held out"]
    if mark.class_names:
        num = len(mark.class_names)
        parts.append(f"{num} {'class' if num == 1 else 'classes'} ({_classes(mark)})")
    return "; ".join([f"{data.name}: {', '.join(parts)}", *data.remarks])


def class_changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Labels whose class changed since training, in words; [] for none.

    >>> old = Fingerprint("pets", 9, 1, ("apple", "pear"), (), "")
    >>> class_changes(old, old._replace(class_names=("blue bird", "pear")))
    ["class 0 was 'apple', is 'blue bird'"]
    """
    changes = [
        f"class {number} was {_quoted(before)}, is {_quoted(now)}"
        for number, (before, now) in enumerate(zip_longest(old.class_names, new.class_names))
        if before != now
    ]
    return [*changes[:3], *([f"{len(changes) - 3} more"] if len(changes) > 3 else [])]


def size_changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Numbers of examples that changed since training, in words; [] for none."""
    changes = [
        f"{now} {what} examples were {before}"
        for what, before, now in (
            ("training", old.num_train, new.num_train),
            ("held-out", old.num_held_out, new.num_held_out),
        )
        if before != now
    ]
    if not changes and old.class_counts and new.class_counts and old.class_counts != new.class_counts:
        changes.append("other numbers of examples per class")
    return changes


def _hash(source: DataSource) -> bytes:
    """A checksum of some evenly spaced examples."""
    digest = hashlib.sha256()
    if len(source):
        examples = take(source, evenly_spaced(len(source)))
        for name in sorted(examples):
            values = np.ascontiguousarray(examples[name])
            digest.update(f"{name} {values.dtype} {values.shape} ".encode() + values.tobytes())
    return digest.digest()


def _classes(mark: Fingerprint) -> str:
    """Classes by number and name, with their counts where these differ."""
    names: Sequence[str] = mark.class_names
    if names == tuple(map(str, range(len(names)))) and len(set(mark.class_counts)) < 2:
        return f"0 to {len(names) - 1}"
    counts = [f" ({count})" for count in mark.class_counts] or [""] * len(names)
    named = [f"{number} {name}{count}" for number, (name, count) in enumerate(zip(names, counts, strict=True))]
    return ", ".join([*named[:MAX_NAMED], *(["..."] if len(named) > MAX_NAMED else [])])


def _quoted(name: str | None) -> str:
    return "no class" if name is None else f"'{name}'"
