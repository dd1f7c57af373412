"""A training that is stuck ends, and one whose time is limited saves before."""

import signal
import threading
import time

import jax
import pytest

from aigc_jax.cli.train import _seconds
from aigc_jax.train import watchdog
from aigc_jax.train.loop import train
from aigc_jax.train.watchdog import STUCK, Limits, Watchdog
from aigc_jax.types import UsageError

from .toys import Game, ToyConfig, batches, experiment


@pytest.fixture
def ended(monkeypatch):
    """What the process would have been ended with: its line and status."""
    calls, called = [], threading.Event()

    def end_process(line, status):
        calls.append((line, status))
        called.set()

    monkeypatch.setattr(watchdog, "end_process", end_process)
    return calls, called


def test_watchdog_ends_a_stuck_process_with_all_stacks(tmp_path, ended):
    calls, called = ended
    with Watchdog(Limits(step_timeout=0.2), tmp_path) as watching:
        for step in range(1, 5):
            watching.call_ended(step)
        assert called.wait(10)
    line, status = calls[0]
    assert status == STUCK
    assert "after step 4" in line
    assert "test_watchdog_ends_a_stuck_process" in (tmp_path / "logs" / "process_0.txt").read_text()


def test_watchdog_waits_for_compilation_and_for_what_is_between_steps(tmp_path, ended):
    _, called = ended
    with Watchdog(Limits(step_timeout=0.2), tmp_path) as watching:
        watching.call_ended(1)
        assert not called.wait(0.5)
        for step in range(2, 5):
            watching.call_ended(step)
        with watching.paused():
            assert not called.wait(0.5)


def test_timeout_is_twenty_medians_and_at_least_five_minutes(tmp_path, monkeypatch):
    watching, now = Watchdog(Limits(), tmp_path), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for step in range(1, 10):
        now[0] += 10.0
        watching.call_ended(step)
    assert watching.timeout() == 300
    for step in range(10, 40):
        now[0] += 60.0
        watching.call_ended(step)
    assert watching.timeout() == 1200


@pytest.mark.slow
def test_run_stops_and_saves_before_its_time_is_over(tmp_path, capsys):
    config = ToyConfig(steps=10**6, checkpoint_every=0, log_every=1000)
    # A checkpoint that was never timed may take half a minute, and as much is kept for a delay.
    limits = Limits(stop_before=time.monotonic() + 65)
    toy = experiment(Game(num_players=1), config.parallel)
    result = train(toy, config, tmp_path, batches=batches, devices=jax.devices()[:1], limits=limits)
    assert result.stopped_by == signal.SIGTERM
    assert (tmp_path / "checkpoints" / str(result.step)).is_dir()
    assert time.monotonic() < limits.stop_before
    assert "the time limit is near" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("90", 90), ("25m", 1500), ("3h30m", 12600), ("0.5s", 0.5)])
def test_time_is_read_as_hours_minutes_and_seconds(text, seconds):
    assert _seconds("--save-before", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0s", "5d", "m"])
def test_time_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="3h30m for --save-before"):
        _seconds("--save-before", text)
