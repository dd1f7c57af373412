"""Processes of this machine, over gloo, train what one process trains, and lose nothing when one of them dies."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import aigc_jax
from aigc_jax.train.cluster import Address, joined_cluster
from aigc_jax.train.parallel import PARALLEL_MODES
from aigc_jax.types import UsageError
from tests.train.peers import train_run
from tests.train.toys import leaves

pytestmark = pytest.mark.standard_promotion

ROOT = Path(__file__).parents[2]
COMMON = {"batch_size": 24, "log_every": 1, "sample_every": 0, "checkpoint_every": 0, "schedule_steps": 4}
TINY = {
    "flow_2d": {**COMMON, "widths": [8]},
    "gan_digits": {
        **COMMON,
        "generator": {"width": 16},
        "discriminator": {"widths": [4], "num_features": 8},
    },
}
TRAIN = "train flow_2d --batch-size 24 --widths 8 --log-every 10 --sample-every 0 --checkpoint-every 20 --steps 100000"


def settings(name, mode, steps):
    return {**TINY[name], "parallel": mode, "steps": steps}


def environment():
    """One device for each process, and a cache of programs that all share."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=1")
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # as the test process itself
    return {**os.environ, **quick, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}


@contextlib.contextmanager
def processes(commands):
    """Processes that are killed at the end: SIGTERM would only ask them to save."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for command in commands
    ]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def train_together(num_processes, folder, runs):
    address = free_address()
    common = ["tests.train.peers", address, str(num_processes)]
    with processes([[*common, str(i), str(folder), json.dumps(runs)] for i in range(num_processes)]) as children:
        outputs = [child.communicate(timeout=300) for child in children]
        assert [child.returncode for child in children] == [0] * num_processes, outputs
    assert all(out + err == "" for out, err in outputs[1:]), "only process 0 prints"


def logged(run):
    """The metrics of each step, which hold what the whole batch has: a part of it alone would show."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {record["step"]: record["metrics"] for record in records}


def assert_equal_runs(one, other, *, weights_atol=1e-6):
    first, second = (logged(run) for run in (one, other))
    assert first.keys() == second.keys()
    for step in first:
        for name, value in first[step].items():
            assert value == pytest.approx(second[step][name], abs=1e-6), (step, name)
    for ours, theirs in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=weights_atol, rtol=0)


def weights(run):
    return leaves(aigc_jax.load_run(run).variables)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of one process, two and four, and runs that stop and go on; no more than shows each mode and count."""
    folder = tmp_path_factory.mktemp("processes")

    def alone(name, workdir, steps):
        with jax.numpy_dtype_promotion("standard"):
            train_run(name, folder / workdir, settings(name, "jit", steps))

    alone("flow_2d", "flow_2d", 4)
    alone("gan_digits", "gan_digits", 2)
    alone("flow_2d", "moved", 1)
    two = [("flow_2d", f"flow_2d-2-{mode}", settings("flow_2d", mode, 4)) for mode in PARALLEL_MODES]
    two += [("gan_digits", "gan_digits-2-shard_map", settings("gan_digits", "shard_map", 2))]
    two += [("flow_2d", workdir, settings("flow_2d", "jit", 2)) for workdir in ("halves", "moved")]
    train_together(2, folder, [*two, ("flow_2d", "halves", settings("flow_2d", "jit", 4))])
    four = ("flow_2d", "flow_2d-4-jit", settings("flow_2d", "jit", 4))
    train_together(4, folder, [four, ("flow_2d", "moved", settings("flow_2d", "jit", 3))])
    alone("flow_2d", "moved", 4)
    return folder


@pytest.mark.slow
def test_two_and_four_processes_train_what_one_trains(trained):
    names = [path.name for path in trained.iterdir() if "-" in path.name]
    assert len(names) == 5
    for name in names:
        # Adam divides by the size of the gradient: of one weight in 75,264 it has made 3e-6 of rounding.
        atol = 2e-5 if name.startswith("gan_digits") else 1e-6
        assert_equal_runs(trained / name.partition("-")[0], trained / name, weights_atol=atol)


@pytest.mark.slow
def test_run_resumes_on_one_two_four_and_one_processes(trained):
    assert_equal_runs(trained / "flow_2d", trained / "moved")


@pytest.mark.slow
def test_run_that_resumes_on_as_many_processes_is_equal_bit_for_bit(trained):
    assert logged(trained / "flow_2d-2-jit") == logged(trained / "halves")
    for ours, theirs in zip(weights(trained / "flow_2d-2-jit"), weights(trained / "halves"), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def wait_for(found, seconds=200.0):
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def pid_of(run, process_id):
    """The process that wrote the log last."""
    lines = (run / "logs" / f"process_{process_id}.txt").read_text().splitlines()
    return int(next(line for line in reversed(lines) if ", pid " in line).partition(", pid ")[2].split()[0])


def checkpoints(run):
    folder = run / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


@pytest.mark.slow
def test_killed_process_ends_the_others_and_the_run_goes_on(tmp_path):
    run = tmp_path / "run"
    launch = ["aigc_jax", "launch", "local", "--num-processes", "2", "--", *TRAIN.split(), "--workdir", str(run)]
    with processes([launch]) as [launcher]:
        wait_for(lambda: 20 in checkpoints(run))
        os.kill(pid_of(run, 1), signal.SIGKILL)
        _, err = launcher.communicate(timeout=120)
    assert launcher.returncode == 128 + signal.SIGKILL
    (line,) = (line for line in err.splitlines() if line.startswith("aigc-jax: process 0: another process has ended"))
    assert str(run) in line
    assert err.splitlines()[-1].endswith(
        f"to resume: aigc-jax launch local --num-processes 2 -- {TRAIN} --workdir {run}"
    )
    newest = checkpoints(run)[-1]
    with processes([launch]) as [launcher]:
        wait_for(lambda: checkpoints(run)[-1] > newest)
        os.kill(pid_of(run, 1), signal.SIGTERM)
        _, err = launcher.communicate(timeout=120)
    assert launcher.returncode == 128 + signal.SIGTERM, err
    assert f"resuming at step {newest}" in err
    assert "a stop needs " in err
    stopped = int(err.partition("SIGTERM: stopped at step ")[2].partition(",")[0])
    assert checkpoints(run)[-1] == stopped
    assert f"stopped at step {stopped}, saved" in (run / "logs" / "process_1.txt").read_text()


@pytest.mark.slow
def test_stuck_process_ends_the_others_with_75(tmp_path):
    run, address = tmp_path / "run", free_address()
    # Without checkpoints: while one is saved, JAX's heartbeats watch alone.
    words = TRAIN.replace("--checkpoint-every 20", "--checkpoint-every 0").split()
    command = ["aigc_jax", *words, "--workdir", str(run), "--step-timeout", "3s", "--coordinator", address]
    command += ["--num-processes", "2", "--process-id"]
    with processes([[*command, str(i)] for i in range(2)]) as [first, second]:
        wait_for(lambda: (run / "metrics.jsonl").exists() and 20 in logged(run))
        second.send_signal(signal.SIGSTOP)
        _, err = first.communicate(timeout=120)
        assert first.returncode == 75, err  # before JAX's heartbeats end it with another status
    assert "no step has ended for 3 s" in err.splitlines()[-1]
    assert "most recent call first" in (run / "logs" / "process_0.txt").read_text()


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        (Address(), {}, "found no cluster"),
        (Address("host:1234"), {}, "pass --num-processes N --process-id I too"),
        (Address("host", 2, 0), {}, "HOST:PORT"),
        (Address("host:1234", 2, 2), {}, "--process-id in 0"),
        (Address(), {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "jax[k8s]"),
        (Address("127.0.0.1:1234", 2, 1), {"SLURM_JOB_NUM_NODES": "2"}, "an address that all hosts reach"),
    ],
)
def test_cluster_that_cannot_work_is_refused_in_one_line(tmp_path, monkeypatch, given, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught, joined_cluster(given, tmp_path):
        pass
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_cluster_on_a_port_in_use_is_refused(tmp_path):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"port {port} of this host is in use"),
            joined_cluster(Address(f"127.0.0.1:{port}", 2, 0), tmp_path),
        ):
            pass


def test_cluster_by_the_own_name_that_means_loopback_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET, 1, 6, "", ("127.0.1.1", 0))])
    with (
        pytest.raises(UsageError, match=r"node1 is 127[.]0[.]1[.]1 here"),
        joined_cluster(Address("node1:1234", 2, 0), tmp_path),
    ):
        pass
