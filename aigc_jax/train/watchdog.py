"""A watch over the steps: a training that is stuck ends, and one whose time is limited stops and saves before.

JAX ends the other processes when one dies. One that lives and is stuck keeps them waiting without end.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from aigc_jax.data.files import visible
from aigc_jax.train.cluster import end_process, log_file
from aigc_jax.train.nan_guard import LAG

STUCK = 75
"""Exit status of a process that waited for a step in vain: started again, the run goes on."""

_MIN_TIMEOUT, _NUM_MEDIANS, _FIRST_TIMEOUT = 300.0, 20, 3600.0
_UNKNOWN_SAVE = 30.0  # seconds that a checkpoint may take, before one was saved


class Limits(NamedTuple):
    """Time limits of a training, in seconds."""

    step_timeout: float | None = None
    """The longest that a call of the step may take; None for 20 times the median, at least 300, with several processes,
    and no limit with one."""
    stop_before: float | None = None
    """The time by ``time.monotonic()`` before which the run has stopped and saved; None for no limit."""


NO_LIMITS = Limits()


class Watchdog:
    """While entered, a thread that ends this process with :data:`STUCK` when no step ends in time.

    It counts its own waking time, not the clock's: a process that was itself stopped for a while (Ctrl-Z) goes on.
    """

    def __init__(self, limits: Limits, run: Path) -> None:
        self._limits, self._run = limits, run
        self._is_watching = limits.step_timeout is not None or jax.process_count() > 1
        # One process alone asks for the stop; it reaches the others as a preemption does.
        self._stop_before = limits.stop_before if jax.process_index() == 0 else None
        self._durations: deque[float] = deque(maxlen=100)
        self._waited, self._step, self._pauses = 0.0, 0, 0
        self._last: float | None = None
        self._end = threading.Event()
        self.save_seconds: float | None = None

    def __enter__(self) -> Watchdog:
        if self._is_watching or self._stop_before is not None:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()

    def call_ended(self, step: int) -> None:
        """Note that the step was called, and the calls before it have ended."""
        now = time.monotonic()
        if self._last is not None:
            self._durations.append(now - self._last)
        self._last, self._waited, self._step = now, 0.0, step

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not watch inside the block: evaluations and checkpoints take as long as they take."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            self._last, self._waited = time.monotonic(), 0.0

    def saved(self, seconds: float) -> None:
        """Note the time that the first checkpoint took to reach the disk."""
        self.save_seconds = seconds
        # Where a cluster gives a time to stop: one process on a user's own machine is waited for.
        is_limited = jax.process_count() > 1 or self._stop_before is not None
        if is_limited and jax.process_index() == 0:
            needed = seconds + self._median()
            print(f"a stop needs {needed:.1f} s: a step and a checkpoint", file=sys.stderr, flush=True)

    def timeout(self) -> float:
        """The longest that the call under way may take, in seconds."""
        # The first call compiles, and ends when the slowest process has compiled: seen LAG calls later.
        if len(self._durations) <= LAG:
            return max(_FIRST_TIMEOUT, self._limits.step_timeout or 0.0)
        given = self._limits.step_timeout
        return max(_MIN_TIMEOUT, _NUM_MEDIANS * self._median()) if given is None else given

    def _median(self) -> float:
        return statistics.median(self._durations) if self._durations else 0.0

    def _watch(self) -> None:
        tick = min(1.0, (self._limits.step_timeout or _MIN_TIMEOUT) / 20)
        before = time.monotonic()
        while not self._end.wait(tick):
            now = time.monotonic()
            self._waited += min(now - before, 3 * tick) if self._pauses == 0 else 0.0
            before = now
            if self._is_watching and self._waited > self.timeout():
                self._end_process()
            if self._stop_before is not None and time.monotonic() > self._stop_before - self._needed():
                self._stop_before = None
                print("\nthe time limit is near: stopping", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)  # as a cluster that takes the machine away

    def _needed(self) -> float:
        """The time to stop, twice what it took before."""
        save = _UNKNOWN_SAVE if self.save_seconds is None else self.save_seconds
        return 2 * (save + self._median()) + 1

    def _end_process(self) -> None:
        file = log_file(self._run, jax.process_index())
        with contextlib.suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            with file.open("a") as log:
                log.write(f"no step has ended for {self._waited:.0f} s, after step {self._step}; all stacks:\n")
                log.flush()
                faulthandler.dump_traceback(log, all_threads=True)
        line = (
            f"aigc-jax: process {jax.process_index()}: no step has ended for {self._waited:.0f} s, after step "
            f"{self._step}: {'another process' if jax.process_count() > 1 else 'it'} is stuck (stacks in "
            f"{visible(str(file))}); start all again, the run goes on from its last checkpoint"
        )
        end_process(line, STUCK)
