"""Batches on their way to the devices, and how long the devices waited for them."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from aigc_jax.train.parallel import HostBatch, Parallel
from aigc_jax.types import Batch, Metrics

AHEAD = 2
"""Batches that are sent to the devices before they are needed."""


class Feed:
    """Device batches, sent :data:`AHEAD` ahead.

    Attributes:
        waited: seconds that the devices may have waited for the host's batches, since the start: those after
            which they had nothing left to do.
    """

    def __init__(self, batches: Iterator[HostBatch], parallel: Parallel, num_batches: int) -> None:
        self._batches, self._put, self._left = batches, parallel.put_batch, num_batches
        self._queue: deque[Batch] = deque()
        self.waited = 0.0

    def next(self) -> Batch:
        """The next batch.

        Raises:
            ValueError: the data ended too early.
        """
        if not self._queue:
            self._pull()
        return self._queue.popleft()

    def refill(self, in_flight: Metrics) -> None:
        """Send batches ahead: called while the devices are busy with a step.

        Args:
            in_flight: what that step reports; while any of it is still to come, no device waits for data.
        """
        while self._left and len(self._queue) < AHEAD:
            self._pull(in_flight)

    def _pull(self, in_flight: Metrics | None = None) -> None:
        start = time.perf_counter()
        try:
            batch = next(self._batches)
        except StopIteration:
            raise ValueError(f"the data ended {self._left} batches too early: batches must not end") from None
        if in_flight is None or all(_is_ready(value) for value in in_flight.values()):
            self.waited += time.perf_counter() - start
        self._queue.append(self._put(batch))
        self._left -= 1


def _is_ready(value: Any) -> bool:
    return value.is_ready()  # of every concrete jax array, but not in its public type


class Speed:
    """Steps per second: what else a run does (evaluating, drawing, saving) is not counted.

    Begins to count when it is made, which is after the first step was compiled.
    """

    def __init__(self, feed: Feed, step: int) -> None:
        self._feed, self._excluded = feed, 0.0
        self._first = self._last = self._mark(step)

    def lap(self, step: int) -> tuple[float, float]:
        """Speed since the last lap.

        Args:
            step: number of steps made.

        Returns:
            Steps per second, and the fraction of the time that was spent waiting for data.
        """
        before, self._last = self._last, self._mark(step)
        seconds = self._last[1] - before[1]
        return (step - before[0]) / seconds, (self._last[2] - before[2]) / seconds

    def total(self) -> tuple[float, float]:
        """Seconds since the beginning, and the fraction of them that was spent waiting for data."""
        _, now, waited = self._mark(0)
        seconds = now - self._first[1]
        return seconds, (waited - self._first[2]) / seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what happens inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._excluded += time.perf_counter() - start

    def _mark(self, step: int) -> tuple[int, float, float]:
        return step, time.perf_counter() - self._excluded, self._feed.waited
