"""Checkpoints, written by orbax in the background, with a checksum of every array.

A checkpoint holds the global arrays of the state, whichever devices and processes held their parts, so that a run
resumes on another number of them, on another mesh or in another parallel mode; together with the shape, dtype and
checksum of every array and a checksum of this description. A checkpoint that was cut short or changed on the disk is
detected and skipped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from aigc_jax.data.files import visible
from aigc_jax.train.array_checksum import checksums
from aigc_jax.train.former_layouts import has_separate_blocks, with_separate_blocks, with_stacked_blocks
from aigc_jax.train.run_dir import checkpoint_steps, read_run
from aigc_jax.types import TrainState, UsageError, Variables

Which = Literal["latest", "best"] | int
"""Which checkpoint: the newest complete one, the one with the best evaluation, or the one at a step."""

FORMAT = 2
"""The layout of a checkpoint: 2 has checksums that no sharding changes, 1, which had no number, CRC-32 of the bytes."""


class Checkpoints:
    """The checkpoints of one run: the newest few, and the one with the best evaluation."""

    def __init__(
        self,
        run: Path,
        *,
        keep: int = 3,
        best_metric: str | None = None,
        best_mode: str = "max",
        is_read_only: bool = False,
    ) -> None:
        _silence_orbax()
        self._run, self.folder = run, run / "checkpoints"
        _check_names(self.folder, is_read_only=is_read_only)
        self._best_metric, self._sign = best_metric, 1 if best_mode == "max" else -1
        self._is_read_only = is_read_only
        self._scores: dict[int, float] = {}
        self._pending: int | None = None  # the step that is being written
        self._late_errors, self._has_failed = _LateErrorsIgnored(), False
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_NewestAndBest(keep, self.best_step),
            save_interval_steps=0 if is_read_only else 1,
            create=not is_read_only,
            cleanup_tmp_directories=not is_read_only,
            read_only=is_read_only,
        )
        self._manager = ocp.CheckpointManager(self.folder.absolute(), options=options)
        for step in self.steps() if best_metric else []:
            with contextlib.suppress(BrokenCheckpointError):
                self._note_score(step, self._read_info(step)["metrics"])

    def save(self, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
        """Begin to write the state, unless its step has a checkpoint; training may go on meanwhile.

        A state in parts is written by all processes, each its own parts, and another one by the first process.
        """
        step = int(state.step)
        self._settle()
        if step in self.steps():
            return
        # Not a copy where devices hold parts: orbax has read them when it returns, and on a CPU, where it reads the
        # devices' memory, jax makes a step that is given that memory write elsewhere.
        state = state if _is_in_parts(state) else jax.device_get(state)
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        info = {"format": FORMAT, "arrays": _describe(state, FORMAT), "metrics": metrics}
        info["checksum"] = _info_checksum(info)
        contents = ocp.args.Composite(state=ocp.args.StandardSave(state), info=ocp.args.JsonSave(info))
        self._note_score(step, metrics)
        with self._writing():
            self._manager.save(step, args=contents, force=True)
        self._pending = step

    def _settle(self) -> None:
        """Wait until the last save is on the disk, and forget it where it is not whole there.

        orbax keeps a step in its list whose files it could not finish; it would count as the newest, and hinder saving.
        """
        step, self._pending = self._pending, None
        if step is None:
            return
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        # The first process finishes it. Network file systems may show it to the others later.
        is_whole = jax.process_index() != 0 or (
            step in checkpoint_steps(self._run)
            and all((self.folder / str(step) / item).is_dir() for item in ("state", "info"))
        )
        if not _is_agreed(is_whole):
            self._scores.pop(step, None)
            self._manager.reload()
            if step in self.steps():
                with self._writing():
                    self._manager.delete(step)
            print(f"warning: the checkpoint {self._where(step)} was not finished; {self.last_good()}", file=sys.stderr)

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether an evaluation beats those of all checkpoints; False without a best metric."""
        if self._best_metric is None:
            return False
        value = metrics.get(self._best_metric, math.nan)
        # Each process has measured, perhaps up to rounding; to save is for all or none.
        is_better = math.isfinite(value) and self._sign * value > max(self._scores.values(), default=-math.inf)
        return _is_agreed(is_better)

    def best_step(self) -> int | None:
        """The step of the checkpoint with the best evaluation; None where none was evaluated."""
        return max(self._scores, key=lambda step: self._scores[step]) if self._scores else None

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def restore_latest(self, abstract_state: TrainState) -> TrainState | None:
        """The newest complete checkpoint as numpy arrays, None for none; broken ones are reported and removed."""
        steps = self.steps()
        for step in reversed(steps):
            try:
                state = self.restore(step, abstract_state)
            except BrokenCheckpointError as error:
                print(f"warning: {error}; trying the one before", file=sys.stderr)
                continue
            for broken in (later for later in steps if later > step and not self._is_read_only):
                with self._writing():
                    self._manager.delete(broken)  # else the step could not be saved again
                self._scores.pop(broken, None)
            return state
        if steps:
            raise UsageError(
                f"none of the {len(steps)} checkpoints in {self.folder} is complete: restore one from a copy, "
                "or choose another --workdir"
            )
        return None

    def restore(self, step: int, abstract_state: TrainState) -> TrainState:
        """The checkpoint of one step; UsageError for one of another model, BrokenCheckpointError for a damaged one.

        Its arrays are numpy's; where ``abstract_state`` gives each a sharding, they are read into devices in parts.
        """
        info = self._read_info(step)
        arrays, number = info["arrays"], info.get("format", 1)
        is_former = has_separate_blocks(arrays)
        saved_state = with_separate_blocks(abstract_state) if is_former else abstract_state
        _check_fit(arrays, saved_state, self._where(step))
        if is_former or number == 1:  # what must be stacked, or read in order, is needed whole
            saved_state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved_state)
        # Never from orbax's own record of where arrays lay: those devices need not exist.
        state = self._read_state(step, ocp.args.StandardRestore(jax.tree.map(_like, saved_state)))
        if not _is_agreed(_describe(state, number) == arrays):
            raise BrokenCheckpointError(f"the checkpoint {self._where(step)} is damaged (its checksums differ)")
        return with_stacked_blocks(state) if is_former else state

    def arrays(self, step: int) -> dict[str, list[Any]]:
        """``{path: [shape, dtype, checksum]}`` of the arrays of one step, of whatever model."""
        return self._read_info(step)["arrays"]

    def restore_arrays(self, step: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Some of the arrays of one step by their path, each of the shape and, in parts, the sharding that is wanted.

        Where those are no arrays of the checkpoint, or it is damaged, BrokenCheckpointError.
        """
        info, tree = self._read_info(step), _nested({name: _like(leaf) for name, leaf in wanted.items()})
        how = ocp.args.PyTreeRestore(
            item=tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree), partial_restore=True
        )
        found = self._read_directly(step, how)
        described = {name: info["arrays"].get(name) for name in wanted}
        if not _is_agreed(_describe(found, info.get("format", 1)) == described):
            raise BrokenCheckpointError(f"the checkpoint {self._where(step)} is damaged (its checksums differ)")
        return dict(_named(found))

    def _read_info(self, step: int) -> dict[str, Any]:
        info = self._read(step, "info", ocp.args.JsonRestore())
        if not _is_info(info):
            raise BrokenCheckpointError(f"the checkpoint {self._where(step)} is damaged (its description is broken)")
        if info.get("format", 1) > FORMAT:
            raise UsageError(
                f"the checkpoint {self._where(step)} has format {info['format']}, this library reads up to {FORMAT}: "
                "install a newer aigc-jax"
            )
        return info

    def _read(self, step: int, item: str, how: ocp.args.CheckpointArgs) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: how}))[item]
        except Exception as error:  # whatever orbax or its storage say of a file that is cut or missing
            self._note_failure()
            raise BrokenCheckpointError(f"the checkpoint {self._where(step)} is incomplete") from error

    def _read_state(self, step: int, how: ocp.args.StandardRestore) -> Any:
        """The state; where one of several processes cannot read its part, all say that the checkpoint is incomplete."""
        # The manager ends by waiting for all processes, and one that finds damage never comes there.
        return self._read(step, "state", how) if jax.process_count() == 1 else self._read_directly(step, how)

    def _read_directly(self, step: int, how: ocp.args.StandardRestore | ocp.args.PyTreeRestore) -> Any:
        handler: Any = (
            ocp.StandardCheckpointHandler()
            if isinstance(how, ocp.args.StandardRestore)
            else ocp.PyTreeCheckpointHandler()
        )
        folder, state = cast(Any, (self.folder / str(step) / "state").absolute()), None
        with contextlib.suppress(Exception):
            state = handler.restore(folder, args=how)
        if not _is_agreed(state is not None):
            self._note_failure()
            raise BrokenCheckpointError(f"the checkpoint {self._where(step)} is incomplete")
        return state

    def _note_failure(self) -> None:
        self._has_failed = True
        # The other reads and writes under way report to nobody, pages long: those that failed, and those not begun.
        logging.getLogger("asyncio").addFilter(_NO_TASKS_OF_ORBAX)
        warnings.filterwarnings("ignore", _NOT_BEGUN, RuntimeWarning)

    def _note_score(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._best_metric and math.isfinite(value := metrics.get(self._best_metric, math.nan)):
            self._scores[step] = self._sign * value

    def wait(self) -> None:
        """Wait until all is on the disk; UsageError where it could not be written."""
        self._settle()

    def verify(self, step: int, abstract_state: TrainState) -> None:
        """Read a saved checkpoint back: file systems and paths exist on which orbax reports success and loses it.

        One in parts is read in pieces: devices that hold a state may have no room for a second one.
        """
        try:
            if any(getattr(leaf, "sharding", None) is not None for leaf in jax.tree.leaves(abstract_state)):
                self._check_pieces(step, abstract_state)
            else:
                self.restore(step, abstract_state)
        except UsageError as error:
            raise UsageError(
                f"training ended, but its last checkpoint cannot be read back: {error}; {self.last_good(before=step)}: "
                "choose another --workdir, on another disk"
            ) from error

    def _check_pieces(self, step: int, abstract_state: TrainState) -> None:
        """As :meth:`restore`, of a checkpoint of the present format; a piece has the size of the largest array."""
        arrays = self._read_info(step)["arrays"]
        _check_fit(arrays, abstract_state, self._where(step))
        found: dict[str, list[Any]] = {}
        for piece in _pieces(abstract_state):
            placements = ocp.checkpoint_utils.construct_restore_args(piece)
            state = self._read_directly(step, ocp.args.PyTreeRestore(piece, restore_args=placements))
            found |= _describe(jax.tree.map(lambda leaf: None if leaf is ocp.PLACEHOLDER else leaf, state), FORMAT)
        if not _is_agreed(found == arrays):
            raise BrokenCheckpointError(f"the checkpoint {self._where(step)} is damaged (its checksums differ)")

    def last_good(self, before: float = math.inf) -> str:
        """The newest complete checkpoint on the disk, of a step before a given one, in words."""
        steps = [step for step in checkpoint_steps(self._run) if step < before]
        return f"the last good checkpoint is {self._where(steps[-1])}" if steps else "no checkpoint was saved yet"

    def close(self) -> None:
        """Finish writing, and close."""
        with self._writing():
            self._manager.close()
        if not self._has_failed:
            self._late_errors.undo()

    def _where(self, step: int) -> str:
        return f"{visible(str(self.folder))}/{step}"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of writing into one line; it comes from a thread, at the next call of whatever kind."""
        try:
            yield
        except Exception as error:  # tensorstore's errors are ValueErrors, orbax's of many kinds
            self._note_failure()
            raise UsageError(
                f"cannot write checkpoints to {visible(str(self.folder))} ({_reason(error)}); {self.last_good()}: "
                "free space there, or mend the permissions; then the same command resumes from it"
            ) from error


class BrokenCheckpointError(UsageError):
    """A checkpoint that is cut short, or does not hold what was saved."""


def load_state(run: Path, abstract_state: TrainState, *, which: Which = "latest") -> TrainState:
    """The state of a run as numpy arrays; ``abstract_state`` has its shapes and dtypes."""
    values = read_run(run).values
    checkpoints = Checkpoints(
        run,
        best_metric=values.get("best_metric"),
        best_mode=values.get("best_mode", "max"),
        is_read_only=True,
    )
    try:
        steps = checkpoints.steps()
        if not steps:
            raise UsageError(f"{run} has no checkpoint yet: train it until the first one is saved")
        if which == "latest":
            return cast(TrainState, checkpoints.restore_latest(abstract_state))
        step = checkpoints.best_step() if which == "best" else which
        if step is None:
            raise UsageError(f"{run} has no evaluated checkpoint: train with --best-metric, or use the latest one")
        if step not in steps:
            raise UsageError(f"{run} has no checkpoint at step {step}: use one of {', '.join(map(str, steps))}")
        return checkpoints.restore(step, abstract_state)
    finally:
        checkpoints.close()


def load_variables(run: Path, abstract_state: TrainState, *, which: Which = "latest") -> Variables:
    """The weights of a run to sample with, the averaged ones where an average is kept."""
    return load_state(run, abstract_state, which=which).variables


class _NewestAndBest(policies.PreservationPolicy):
    """Which checkpoints stay. orbax's own BestN forgets the scores of an earlier process."""

    def __init__(self, keep: int, best_step: Callable[[], int | None]) -> None:
        self._keep, self._best_step = keep, best_step

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer per checkpoint, oldest first."""
        newest, best = len(checkpoints) - self._keep, self._best_step()
        return [i >= newest or checkpoint.step == best for i, checkpoint in enumerate(checkpoints)]


def _is_agreed(is_good: bool) -> bool:
    """Whether all processes say yes, so that all do the same next: one that does another thing would wait for ever."""
    return is_good if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.bool_(is_good)).all())


def _is_in_parts(state: TrainState) -> bool:
    """Whether no single device of this process holds the whole state."""
    return any(isinstance(leaf, jax.Array) and not leaf.is_fully_replicated for leaf in jax.tree.leaves(state))


def _pieces(abstract_state: TrainState) -> Iterator[TrainState]:
    """The state in pieces of at most the size of its largest array: orbax leaves out what is a placeholder."""
    leaves, structure = jax.tree.flatten(abstract_state)
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in leaves]
    start = 0
    while start < len(leaves):
        end = start + 1
        while end < len(leaves) and sum(sizes[start : end + 1]) <= max(sizes):
            end += 1
        yield structure.unflatten(leaf if start <= i < end else ocp.PLACEHOLDER for i, leaf in enumerate(leaves))
        start = end


def _like(leaf: Any) -> Any:
    """What orbax is given to read an array into: a sharding, or numpy's memory."""
    return leaf if getattr(leaf, "sharding", None) is not None else np.empty(leaf.shape, leaf.dtype)


def _nested(named: Mapping[str, Any]) -> dict[str, Any]:
    """``{"params/net": leaf}`` -> ``{"params": {"net": leaf}}``."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        *parts, last = name.split("/")
        entries = tree
        for part in parts:
            entries = entries.setdefault(part, {})
        entries[last] = leaf
    return tree


def _describe(state: TrainState, number: int) -> dict[str, list[Any]]:
    """``{path: [shape, dtype, checksum]}`` of the arrays, as a format has them."""
    marks = jax.tree.leaves(jax.tree.map(_crc32, state) if number == 1 else checksums(state))
    return {name: [*_shape_and_dtype(leaf), mark] for (name, leaf), mark in zip(_named(state), marks, strict=True)}


def _crc32(leaf: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(leaf).tobytes())


def _check_fit(arrays: Mapping[str, list[Any]], abstract_state: TrainState, where: str) -> None:
    saved = {name: description[:2] for name, description in arrays.items()}
    wanted = {name: _shape_and_dtype(leaf) for name, leaf in _named(abstract_state)}
    for name in sorted(saved.keys() | wanted.keys(), key=lambda name: (not name.startswith("params"), name)):
        there, here = saved.get(name), wanted.get(name)
        if there != here:
            raise UsageError(
                f"the checkpoint {where} is of another model ({visible(name)} is {_text(there)} there and "
                f"{_text(here)} here): use the configuration that it was trained with, or another --workdir"
            )


def _named(state: TrainState) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def _shape_and_dtype(leaf: Any) -> list[Any]:
    return [list(leaf.shape), str(leaf.dtype)]


def _text(description: Sequence[Any] | None) -> str:
    return "absent" if description is None else visible(f"{description[1]}{description[0]}")


def _is_info(info: Any) -> bool:
    """Whether the description of a checkpoint is one, and the one that was saved."""
    if (
        not isinstance(info, dict)
        or not isinstance(info.get("metrics"), dict)
        or not isinstance(info.get("arrays"), dict)
    ):
        return False
    is_measured = all(isinstance(value, int | float) for value in info["metrics"].values())
    is_described = all(isinstance(each, list) and len(each) == 3 for each in info["arrays"].values())
    is_numbered = type(info.get("format", 1)) is int and info.get("format", 1) > 0
    # Checkpoints of the first versions have no checksum of their description.
    is_unsigned = "checksum" not in info and "format" not in info
    is_signed = info.get("checksum") == _info_checksum(info)
    return is_measured and is_described and is_numbered and (is_signed or is_unsigned)


def _info_checksum(info: Mapping[str, Any]) -> int:
    described = {name: info.get(name) for name in ("format", "arrays", "metrics") if name != "format" or name in info}
    return zlib.crc32(json.dumps(described, sort_keys=True).encode())


def _reason(error: BaseException) -> str:
    """The cause of an error of writing: the operating system's words, where tensorstore gives its number."""
    found = re.search(r"os_error_code='([0-9]+)'", str(error))
    if found:
        return os.strerror(int(found[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return visible(str(error))[:200] or type(error).__name__


def _check_names(folder: Path, *, is_read_only: bool) -> None:
    """Refuse names that orbax would take for what they are not, before it removes or writes anything."""
    if not is_read_only and folder.is_symlink():
        raise UsageError(f"{visible(str(folder))} is a link, and checkpoints are written to no other place: remove it")
    for path in folder.iterdir() if folder.is_dir() else ():
        # orbax takes any Unicode digits for a step.
        if path.name.isdecimal() and not path.name.isascii():
            raise UsageError(f"{visible(str(path))} is no checkpoint: remove it")
        if not is_read_only and path.is_symlink():
            raise UsageError(f"{visible(str(path))} is a link, where checkpoints are written and removed: remove it")


def _silence_orbax() -> None:
    """Orbax logs every file it opens, and errors that reach us as exceptions anyway."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("orbax").setLevel(logging.CRITICAL)


class _NoTasksOfOrbax(logging.Filter):
    """Drop what asyncio says of tasks of orbax, and nothing of those of others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept; asyncio names the file of the task's coroutine."""
        return f"{os.sep}orbax{os.sep}" not in record.getMessage()


_NO_TASKS_OF_ORBAX = _NoTasksOfOrbax()
_NOT_BEGUN = "coroutine '[^']*(serialize|_read_)[^']*' was never awaited"
"""A warning of a read or write of orbax; it names nothing but the coroutine."""


class _LateErrorsIgnored:
    """Silence what a failed read or write leaves behind: each pending one finds orbax's event loop closed, says so.

    ``undo`` after a failure would be too early: they come when the process ends.
    """

    def __init__(self) -> None:
        self._before = sys.unraisablehook
        sys.unraisablehook = self._hook

    def undo(self) -> None:
        """Put the former hook back, where it was not replaced since."""
        if sys.unraisablehook == self._hook:
            sys.unraisablehook = self._before

    def _hook(self, unraisable: Any) -> None:
        texts = ("Event loop is closed", "error while reading array", _NOT_BEGUN)
        if not any(re.search(text, str(unraisable.exc_value)) for text in texts):
            self._before(unraisable)
