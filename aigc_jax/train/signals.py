"""SIGTERM and Ctrl-C end a run after the current step instead of in the middle of it."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """While entered, the first SIGTERM or Ctrl-C is noted; a second one acts as it would have before.

    Handlers are set in the main thread only (Python allows no other) and put back at the end.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._agreed = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def is_asked(self, *, is_meeting: bool) -> bool:
        """Whether to stop after this step.

        Several processes agree at steps with ``is_meeting`` only: one that stopped alone would leave others waiting.
        """
        if jax.process_count() == 1:
            return self.signal is not None
        if is_meeting:
            self._agreed = int(multihost_utils.process_allgather(np.int32(self.signal or 0)).max())
            self.signal = self._agreed or self.signal
        return self._agreed > 0

    def __exit__(self, *_: object) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._put_back()
        print(f"\n{signal.Signals(number).name}: finishing this step, then saving (again to abort)", file=sys.stderr)

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
