"""SIGTERM and Ctrl-C end a run after the current step instead of in the middle of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """While entered, the first SIGTERM or Ctrl-C is noted; a second one acts as it would have before.

    Handlers are set in the main thread only (Python allows no other) and put back at the end. With several processes
    SIGTERM is JAX's, whose runtime tells all of them: one that stopped alone would leave the others waiting.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._is_shared, self._calls = jax.process_count() > 1, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            signals = (signal.SIGINT,) if self._is_shared else SIGNALS
            self._before = {number: signal.signal(number, self._note) for number in signals}
        return self

    def is_asked(self) -> bool:
        """Whether to stop after this call of the step; asked after every call, by all processes."""
        if not self._is_shared:
            return self.signal is not None
        self._calls += 1  # JAX names the next number as the one to stop at; steps may be more than one apart
        if not multihost_utils.reached_preemption_sync_point(self._calls):
            return False
        self.signal = self.signal or signal.SIGTERM
        return True

    def __exit__(self, *_: object) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._put_back()
        if self._is_shared:
            os.kill(os.getpid(), signal.SIGTERM)
        print(f"\n{signal.Signals(number).name}: finishing this step, then saving (again to abort)", file=sys.stderr)

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
