"""aigc-jax launch local: how long the other processes are waited for."""

import subprocess

import pytest

from aigc_jax.cli import launch


@pytest.mark.parametrize(("end", "status"), [("exit 143", 143), ("exit 130", 130), ("kill -TERM $$", 143)])
def test_wait_ends_when_a_stopped_process_leaves_one_that_never_met_it(monkeypatch, end, status):
    monkeypatch.setattr(launch, "_GRACE", 0.2)
    monkeypatch.setattr(launch, "_STOP_GRACE", 0.2)
    children = [subprocess.Popen(["sh", "-c", end]), subprocess.Popen(["sleep", "60"])]
    try:
        assert launch._wait(children, []) == status
        assert children[1].poll() is None
    finally:
        for child in children:
            child.kill()
            child.wait()
