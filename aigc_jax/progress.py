"""Progress on standard error: a bar on a terminal, a line from time to time in a log."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0
"""Where there is no terminal: what takes less time prints nothing."""


class Progress:
    """Progress of a task of known size, as a context manager.

    Args:
        total: the size of the task.
        title: its name.
        unit: of its size, singular.

    >>> with Progress(3, "precision", "tile") as progress:
    ...     progress.update(3)
    """

    def __init__(self, total: int, title: str, unit: str) -> None:
        self._total, self._title, self._unit = total, title, unit
        self._done, self._begin = 0, time.monotonic()
        self._last_line = self._begin
        self._bar = tqdm(total=total, desc=title, unit=unit, disable=None, leave=False)

    def update(self, num: int = 1) -> None:
        """Count units that are done."""
        self._bar.update(num)
        self._done += num
        now = time.monotonic()
        if self._bar.disable and now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = (now - self._begin) * (self._total - self._done) / max(self._done, 1)
            count = f"{self._title}: {self._done} of {self._total} {self._unit}s"
            sys.stderr.write(f"{count}, {tqdm.format_interval(left)} left\n")
            sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
