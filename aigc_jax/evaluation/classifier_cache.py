"""The user's cache of trained classifiers.

An entry is a run directory and ``entry.json``: the identity that the classifier was trained for, its step and the
checksum of its weights. One process at a time trains an entry, under a temporary name. An entry that does not fit
(damaged, half trained, or swapped) is replaced. This is no defence against somebody who recomputes the checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from aigc_jax.data.files import LockedError, cache_dir, file_lock, read_json, visible, write_text
from aigc_jax.train.checkpoint import load_variables
from aigc_jax.types import TrainState, UsageError, Variables

FILE = "entry.json"


class Entry(NamedTuple):
    """A classifier that is looked for in the cache."""

    name: str
    """In words, as "digits classifier"."""
    identity: Mapping[str, Any]
    """All that the weights depend on, as JSON values."""
    steps: int
    shapes: TrainState

    @property
    def folder(self) -> Path:
        """Where it lies: a readable name, and a digest of the identity."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]
        return cache_dir() / "classifiers" / f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower())[:80]}-{digest}"


def load_or_train(entry: Entry, train: Callable[[Path], None]) -> Variables:
    """The weights of a classifier, from the cache where they are there; else ``train(workdir)`` makes them."""
    folder = entry.folder
    found, reason = _read(entry)
    if found is not None:
        return found
    with _owned(folder):
        found, reason = _read(entry)  # another process may have trained it meanwhile
        if found is not None:
            return found
        how = "once" if reason is None else f"anew, the cached one does not fit ({reason})"
        print(f"training the {visible(entry.name)} {how}; it is kept in {visible(str(folder))}", file=sys.stderr)
        return _train(entry, train)


def _read(entry: Entry) -> tuple[Variables | None, str | None]:
    """The cached weights; or None, and why what is there does not fit."""
    if not os.path.lexists(entry.folder):
        return None, None
    try:
        content = read_json(entry.folder / FILE, advice="it is trained anew")
        if content.get("identity") != json.loads(json.dumps(entry.identity)) or content.get("step") != entry.steps:
            return None, "it is another classifier"
        variables = load_variables(entry.folder, entry.shapes, which=entry.steps)
    except UsageError as error:
        return None, str(error)
    return (variables, None) if content.get("checksum") == _checksum(variables) else (None, "its weights were changed")


def _train(entry: Entry, train: Callable[[Path], None]) -> Variables:
    folder = entry.folder
    temporary = folder.with_name(f".{folder.name}.tmp")
    _remove(temporary)
    try:
        train(temporary)
        variables = load_variables(temporary, entry.shapes, which=entry.steps)
        content = {"identity": entry.identity, "step": entry.steps, "checksum": _checksum(variables)}
        write_text(temporary / FILE, json.dumps(content, indent=2) + "\n")
        _remove(folder)
        temporary.rename(folder)
    finally:
        _remove(temporary)
    return variables


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Own an entry while it is trained; wait for another process that trains it, and remove what dead ones left."""
    lock = folder.with_name(f".{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            try:
                stack.enter_context(file_lock(lock))
            except LockedError as error:
                print(f"waiting for process {error.owner}, which trains this classifier", file=sys.stderr)
                stack.enter_context(file_lock(lock, is_waiting=True))
        except UsageError as error:
            raise UsageError(f"cannot keep a classifier ({error}): set AIGC_JAX_CACHE") from error
        for path in folder.parent.glob(".*"):
            if path.is_dir() and not path.is_symlink():
                # Locked while its process lives; of our own entry, by ourselves.
                with contextlib.suppress(LockedError), file_lock(path.with_suffix(".lock")):
                    _remove(path)
        yield


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _checksum(variables: Variables) -> str:
    """Of names, shapes, types and values of the weights."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
