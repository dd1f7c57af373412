"""Progress is seen on terminals and in logs."""

import io
import sys

import pytest

from aigc_jax import progress
from aigc_jax.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_line_every_half_minute_in_a_log(monkeypatch):
    log, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(10, "precision", "tile") as bar:
        for _ in range(8):
            now[0] += 20.0
            bar.update()
    assert log.getvalue().splitlines() == [
        "precision: 2 of 10 tiles, 02:40 left",
        "precision: 4 of 10 tiles, 02:00 left",
        "precision: 6 of 10 tiles, 01:20 left",
        "precision: 8 of 10 tiles, 00:40 left",
    ]


@pytest.mark.parametrize("seconds", [0.0, 29.0])
def test_progress_of_a_short_task_prints_nothing_in_a_log(monkeypatch, seconds):
    log, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(0, "KID", "subset") as bar:
        now[0] += seconds
        bar.update(0)
    assert log.getvalue() == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, "precision", "tile") as bar:
        bar.update(4)
    assert "precision:   0%" in terminal.getvalue()
