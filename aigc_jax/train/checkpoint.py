"""Checkpoints: written by orbax in the background, found again whatever happened to the newest one.

A checkpoint holds one plain copy of the state as numpy arrays, so that a run goes on with another number
of devices or another parallel mode, together with the shape, dtype and checksum of every array. What was
cut short, or changed on the disk, is noticed and skipped.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from aigc_jax.train.run_dir import read_run
from aigc_jax.types import TrainState, UsageError, Variables

Which = Literal["latest", "best"] | int
"""Which checkpoint: the newest complete one, the one with the best evaluation, or the one at a step."""


class Checkpoints:
    """The checkpoints of one run: the newest few, and the one with the best evaluation.

    Attributes:
        folder: where they lie.
    """

    def __init__(
        self,
        run: Path,
        *,
        keep: int = 3,
        best_metric: str | None = None,
        best_mode: str = "max",
        is_read_only: bool = False,
    ) -> None:
        _quiet()
        self.folder = run / "checkpoints"
        self._best_metric, self._sign = best_metric, 1 if best_mode == "max" else -1
        self._is_read_only = is_read_only
        self._scores: dict[int, float] = {}
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
        """Begin to write a checkpoint; training may go on meanwhile.

        Args:
            state: a plain copy on one device, as from ``Parallel.get_state``. A checkpoint that is already
                there for this step is left as it is.
            metrics: the evaluation of this very state, where there was one.
        """
        state = jax.device_get(state)
        step = int(state.step)
        if step in self.steps():
            return
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        self._note_score(step, metrics)
        info = {"arrays": _describe(state), "metrics": metrics}
        contents = ocp.args.Composite(state=ocp.args.StandardSave(state), info=ocp.args.JsonSave(info))
        self._manager.save(step, args=contents, force=True)

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether an evaluation beats those of all checkpoints.

        Args:
            metrics: the evaluation.

        Returns:
            True when it does; always False without a best metric.
        """
        value = metrics.get(self._best_metric, math.nan) if self._best_metric else math.nan
        return math.isfinite(value) and self._sign * value > max(self._scores.values(), default=-math.inf)

    def best_step(self) -> int | None:
        """The step of the checkpoint with the best evaluation; None where none was evaluated."""
        return max(self._scores, key=lambda step: self._scores[step]) if self._scores else None

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def restore_latest(self, abstract_state: TrainState) -> TrainState | None:
        """Restore the newest complete checkpoint; a broken one is reported on stderr and removed.

        Args:
            abstract_state: a state of shapes and dtypes, as from ``jax.eval_shape(algorithm.init, ...)``.

        Returns:
            The state as numpy arrays; None where there is no checkpoint.

        Raises:
            UsageError: the checkpoints are of another model, or none is complete.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                state = self.restore(step, abstract_state)
            except BrokenCheckpointError as error:
                print(f"warning: {error}; trying the one before", file=sys.stderr)
                continue
            for broken in (later for later in steps if later > step and not self._is_read_only):
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
        """Restore the checkpoint of one step.

        Args:
            step: one of :meth:`steps`.
            abstract_state: a state of shapes and dtypes.

        Returns:
            The state as numpy arrays.

        Raises:
            UsageError: the checkpoint is of another model, or (as BrokenCheckpointError) damaged.
        """
        arrays = self._read_info(step)["arrays"]
        _check_fit(arrays, abstract_state, f"{self.folder}/{step}")
        like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), abstract_state)
        state = self._read(step, "state", ocp.args.StandardRestore(like))
        if _describe(state) != arrays:
            raise BrokenCheckpointError(f"the checkpoint {self.folder}/{step} is damaged (its checksums differ)")
        return state

    def _read_info(self, step: int) -> dict[str, Any]:
        return self._read(step, "info", ocp.args.JsonRestore())

    def _read(self, step: int, item: str, how: ocp.args.CheckpointArgs) -> Any:
        try:
            with _late_reads_ignored():
                return self._manager.restore(step, args=ocp.args.Composite(**{item: how}))[item]
        except Exception as error:  # whatever orbax or its storage say of a file that is cut or missing
            raise BrokenCheckpointError(f"the checkpoint {self.folder}/{step} is incomplete") from error

    def _note_score(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._best_metric and math.isfinite(value := metrics.get(self._best_metric, math.nan)):
            self._scores[step] = self._sign * value

    def wait(self) -> None:
        """Wait until everything is on the disk; an error while writing is raised here."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def close(self) -> None:
        """Finish writing and let go."""
        self._manager.close()


class BrokenCheckpointError(UsageError):
    """A checkpoint that is cut short, or does not hold what was saved."""


def load_state(run: Path, abstract_state: TrainState, *, which: Which = "latest") -> TrainState:
    """The state of a run.

    Args:
        run: the run directory.
        abstract_state: a state of shapes and dtypes, ``jax.eval_shape(algorithm.init, key, batch_spec)``.
        which: see :data:`Which`.

    Returns:
        The state as numpy arrays.

    Raises:
        UsageError: no run, no such checkpoint, or one of another model.
    """
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
    """The weights of a run to sample with, the averaged ones where an average is kept.

    Args:
        run: the run directory.
        abstract_state: a state of shapes and dtypes.
        which: see :data:`Which`.

    Returns:
        ``{"params": ..., "model_state": ...}`` as numpy arrays.

    Raises:
        UsageError: no run, no such checkpoint, or one of another model.
    """
    return load_state(run, abstract_state, which=which).variables


class _NewestAndBest(policies.PreservationPolicy):
    """Which checkpoints stay. orbax's own BestN forgets the scores of an earlier process."""

    def __init__(self, keep: int, best_step: Callable[[], int | None]) -> None:
        self._keep, self._best_step = keep, best_step

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer per checkpoint, oldest first."""
        newest, best = len(checkpoints) - self._keep, self._best_step()
        return [i >= newest or checkpoint.step == best for i, checkpoint in enumerate(checkpoints)]


def _describe(state: TrainState) -> dict[str, list[Any]]:
    """``{path: [shape, dtype, checksum]}`` of the arrays."""
    return {
        name: [*_shape_and_dtype(leaf), zlib.crc32(np.ascontiguousarray(leaf).tobytes())]
        for name, leaf in _named(state)
    }


def _check_fit(arrays: Mapping[str, list[Any]], abstract_state: TrainState, where: str) -> None:
    saved = {name: tuple(description[:2]) for name, description in arrays.items()}
    wanted = {name: tuple(_shape_and_dtype(leaf)) for name, leaf in _named(abstract_state)}
    for name in sorted(saved.keys() | wanted.keys(), key=lambda name: (not name.startswith("params"), name)):
        there, here = saved.get(name), wanted.get(name)
        if there != here:
            raise UsageError(
                f"the checkpoint {where} is of another model ({name} is {_text(there)} there and {_text(here)} "
                "here): use the configuration that it was trained with, or another --workdir"
            )


def _named(state: TrainState) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def _shape_and_dtype(leaf: Any) -> list[Any]:
    return [list(leaf.shape), str(leaf.dtype)]


def _text(description: tuple[list[int], str] | None) -> str:
    return "absent" if description is None else f"{description[1]}{description[0]}"


def _quiet() -> None:
    """Orbax reports every file it opens; its errors still reach us as exceptions."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("orbax").setLevel(logging.ERROR)


@contextlib.contextmanager
def _late_reads_ignored() -> Iterator[None]:
    """Silence the reads that a failed one leaves behind: each finds orbax's event loop closed and says so on stderr."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = hook
    yield
    # Not after a failure: they are still to come.
    sys.unraisablehook = before
