"""Training from the weights of another run: every array whose path and shape fit; the rest begins at random."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from aigc_jax.data.files import read_json, visible, write_text
from aigc_jax.train.checkpoint import Checkpoints
from aigc_jax.train.run_dir import read_run
from aigc_jax.types import TrainState, UsageError

FILE = "initial.json"
FORMAT = 1
_COLLECTIONS = ("params", "model_state")
_NUM_NAMED = 4


class InitialRecord(NamedTuple):
    """Content of ``initial.json``: which weights a run began with."""

    run: str  # as it was named
    config: str  # that it was trained with
    step: int  # of the checkpoint
    sha256: str  # of the description of the checkpoint, which has a checksum of each array
    num_taken: int  # arrays that began with its weights
    new: tuple[str, ...]  # those that began at random
    not_used: tuple[str, ...]  # its arrays that this model has no place for


def with_initial_weights(state: TrainState, shapes: TrainState, run: str, workdir: Path) -> TrainState:
    """A state before its first step with the weights of a run, the averaged ones where it kept an average.

    Args:
        state: of random weights, in parts where devices hold parts.
        shapes: of the state, with the sharding of each array that is held in parts.
        run: the directory of the other run; its best checkpoint is read where it was evaluated, else the newest.
        workdir: of this run, for the record.
    """
    source = Path(run)
    described = read_run(source)
    checkpoints = Checkpoints(
        source,
        best_metric=described.values.get("best_metric"),
        best_mode=described.values.get("best_mode", "max"),
        is_read_only=True,
    )
    try:
        steps = checkpoints.steps()
        if not steps:
            raise UsageError(f"{visible(run)} has no checkpoint yet: train it until the first one is saved")
        best = checkpoints.best_step()
        step = steps[-1] if best is None else best
        arrays = checkpoints.arrays(step)
        leaves = _named(shapes)
        given = _weights(arrays)
        pairs = matched({name: _description(leaf) for name, leaf in leaves.items() if _is_weight(name)}, given)
        if not pairs:
            raise UsageError(
                f"no array of {visible(run)} fits this model ({described.config}, {len(given)} arrays): name a run of "
                "a network with the same settings"
            )
        # The average of a weight begins with it.
        wanted = pairs | {f"ema_{name}": source for name, source in pairs.items() if f"ema_{name}" in leaves}
        found = _read(checkpoints, step, {name: given[source][0] for name, source in wanted.items()}, leaves)
    finally:
        checkpoints.close()
    digest = hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()
    new = tuple(_short(name) for name in leaves if _is_weight(name) and name not in pairs)
    not_used = tuple(_short(name) for name in given if name not in set(pairs.values()))
    record = InitialRecord(run, described.config, step, digest, len(pairs), new, not_used)
    if jax.process_index() == 0:
        write_text(workdir / FILE, json.dumps({"format": FORMAT, **record._asdict()}, indent=2) + "\n")
        print(_line(record), file=sys.stderr, flush=True)
    return jax.tree.map_with_path(lambda path, leaf: found.get(_path(path), leaf), state)


def read_initial(run: Path) -> InitialRecord | None:
    """Read ``initial.json``; None for a run that began with random weights."""
    file, advice = run / FILE, "restore it from a copy, or remove it"
    if not file.exists():
        return None
    content = read_json(file, advice=advice)
    try:
        if content.pop("format") > FORMAT:
            raise ValueError(f"this library reads formats up to {FORMAT}")
        record = InitialRecord(**content)
        texts, numbers = (record.run, record.config, record.sha256), (record.step, record.num_taken)
        lists = (record.new, record.not_used)
        if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
            raise ValueError("values of the wrong type")
        if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
            raise ValueError("values of the wrong type")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{visible(str(file))} is broken ({visible(str(error))}): {advice}") from error
    return record._replace(new=tuple(record.new), not_used=tuple(record.not_used))


def matched(wanted: Mapping[str, Any], given: Mapping[str, tuple[str, Any]]) -> dict[str, str]:
    """Of each array that is wanted, the given one that fits: ``{path: path}``.

    First the one of the same path. Else one whose path within its player is that of the wanted one within its player,
    or within a part of it: ``params/base/embed/kernel`` and ``params/classifier/decoder/embed/kernel`` are both given
    ``params/decoder/embed/kernel``. Shapes and dtypes are equal.

    Args:
        wanted: shape and dtype by path.
        given: ``{path: (path in the checkpoint, shape and dtype)}``, the entries of trained players first.
    """
    inner: dict[tuple[str, str], list[str]] = {}
    for name in given:
        collection, _, rest = name.split("/", 2)
        inner.setdefault((collection, rest), []).append(name)
    pairs = {}
    for name, description in wanted.items():
        collection, *parts = name.split("/")
        paths = [name, *(path for i in (1, 2) for path in inner.get((collection, "/".join(parts[i:])), ()))]
        fitting = [path for path in paths if path in given and given[path][1] == description]
        if fitting:
            pairs[name] = fitting[0]
    return pairs


def _weights(arrays: Mapping[str, Sequence[Any]]) -> dict[str, tuple[str, Any]]:
    """The weights to sample with, of a checkpoint: ``{path: (path of the average or of the weight, shape, dtype)}``."""
    trained = {name.split("/")[1] for name in arrays if name.startswith("opt_state/")}
    names = [name for name in arrays if _is_weight(name)]
    names.sort(key=lambda name: name.split("/")[1] not in trained)
    paths = {name: f"ema_{name}" if f"ema_{name}" in arrays else name for name in names}
    return {name: (path, list(arrays[path][:2])) for name, path in paths.items()}


def _read(checkpoints: Checkpoints, step: int, sources: Mapping[str, str], leaves: Mapping[str, Any]) -> dict[str, Any]:
    """``{path: array}`` from ``{path: path in the checkpoint}``: each its own copy, for a state may be donated."""
    found: dict[str, Any] = {}
    while left := {source: name for name, source in sources.items() if name not in found}:
        arrays = checkpoints.restore_arrays(step, {source: leaves[name] for source, name in left.items()})
        found |= {name: arrays[source] for source, name in left.items()}
    return found


def _line(record: InitialRecord) -> str:
    total = record.num_taken + len(record.new)
    parts = [f"initialised {record.num_taken} of {total} arrays from {visible(record.run)} (step {record.step})"]
    for title, names in (("new", record.new), ("not used", record.not_used)):
        if names:
            more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
            parts.append(f"{title}: {visible(', '.join(names[:_NUM_NAMED]))}{more}")
    return "; ".join(parts)


def _named(state: TrainState) -> dict[str, Any]:
    return {_path(path): leaf for path, leaf in jax.tree.leaves_with_path(state)}


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_weight(name: str) -> bool:
    return name.split("/")[0] in _COLLECTIONS and name.count("/") > 1


def _description(leaf: Any) -> list[Any]:
    return [list(leaf.shape), str(leaf.dtype)]


def _short(name: str) -> str:
    """``params/decoder/head/kernel`` -> ``decoder/head/kernel``."""
    return name.partition("/")[2]
