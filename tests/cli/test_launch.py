"""aigc-jax launch local: how long the other processes are waited for, and that none is left behind."""

import os
import subprocess
import sys
import time

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


LAUNCHER = """
import sys
from aigc_jax.cli import launch
from aigc_jax.cli.arguments import LaunchLocal

launch._commands = lambda num, words: [["sh", "-c", f"echo $$ > {sys.argv[1]}/{i}; exec sleep 120"] for i in range(num)]
launch.launch_local(LaunchLocal(num_processes=2), ["train"])
"""


def is_running(pid):
    """Whether a process exists, and is not one that ended and that nobody has waited for."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell a process that its parent has ended")
def test_processes_end_when_the_launcher_is_killed(tmp_path):
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)], env={**os.environ, "PYTHONPATH": "."})
    try:
        deadline = time.monotonic() + 60
        while len(pids := [int(path.read_text() or 0) for path in tmp_path.iterdir()]) < 2 or 0 in pids:
            assert time.monotonic() < deadline, "they did not start"
            time.sleep(0.05)
        assert all(map(is_running, pids))
    finally:
        launcher.kill()
        launcher.wait()
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "they are left behind"
        time.sleep(0.05)
