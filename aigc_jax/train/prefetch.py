"""Prefetching of batches to the devices, and the throughput of training."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from aigc_jax.train.calls import stack
from aigc_jax.train.parallel import HostBatch, Parallel
from aigc_jax.types import Batch, Metrics

PREFETCH = 2
"""Number of calls whose batches are sent to the devices ahead of time."""


class DevicePrefetcher:
    """Device batches, transferred :data:`PREFETCH` calls ahead; ``wait_seconds``: reading while devices were idle.

    ``lengths``: the number of steps, each with its batch, of every call; the longest has ``steps_per_call``.
    """

    def __init__(
        self, batches: Iterator[HostBatch], parallel: Parallel, lengths: Iterator[int], steps_per_call: int = 1
    ) -> None:
        self._batches, self._put, self._lengths = batches, parallel.put_batch, lengths
        self._steps_per_call = steps_per_call
        self._queue: deque[tuple[int, Batch]] = deque()
        self.wait_seconds = 0.0

    def next(self) -> tuple[int, Batch]:
        """The number of steps of the next call, and its batches; ValueError when the data end too early."""
        if not self._queue:
            self._pull(next(self._lengths))
        return self._queue.popleft()

    def refill(self, in_flight: Metrics) -> None:
        """Transfer batches while the devices compute a call: reading costs nothing until its metrics are ready."""
        while len(self._queue) < PREFETCH and (num_steps := next(self._lengths, 0)):
            self._pull(num_steps, in_flight)

    def _pull(self, num_steps: int, in_flight: Metrics | None = None) -> None:
        start = time.perf_counter()
        read = list(itertools.islice(self._batches, num_steps))
        if len(read) < num_steps:
            missing = num_steps - len(read) + sum(self._lengths)
            raise ValueError(f"expected {missing} more batches, the data ended: give an endless iterator")
        batch = stack(read, self._steps_per_call)
        if in_flight is None or all(_is_ready(value) for value in in_flight.values()):
            self.wait_seconds += time.perf_counter() - start
        self._queue.append((num_steps, self._put(batch)))


def _is_ready(value: Any) -> bool:
    return value.is_ready()  # a method of every concrete jax array, missing in its public type


class Throughput:
    """Steps per second, without the time for evaluation, sample grids and checkpoints.

    The clock starts when the object is made: after the first step, so that compilation is not counted.
    """

    def __init__(self, prefetcher: DevicePrefetcher, step: int) -> None:
        self._prefetcher, self._excluded = prefetcher, 0.0
        self._first = self._last = self._mark(step)

    def lap(self, step: int) -> tuple[float, float]:
        """Return steps per second and the fraction of time spent waiting for data, both since the last lap."""
        before, self._last = self._last, self._mark(step)
        seconds = self._last[1] - before[1]
        return (step - before[0]) / seconds, (self._last[2] - before[2]) / seconds

    def total(self) -> tuple[float, float]:
        """Return the seconds since the start, and the fraction of them spent waiting for data."""
        _, now, waited = self._mark(0)
        seconds = now - self._first[1]
        return seconds, (waited - self._first[2]) / seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock inside the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._excluded += time.perf_counter() - start

    def _mark(self, step: int) -> tuple[int, float, float]:
        return step, time.perf_counter() - self._excluded, self._prefetcher.wait_seconds
