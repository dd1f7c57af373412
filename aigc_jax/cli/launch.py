"""The command ``aigc-jax launch local``: several processes of one training on this machine."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from aigc_jax.cli.arguments import LaunchLocal
from aigc_jax.errors import UsageError, visible

_GRACE, _STOP_GRACE = 5.0, 60.0
"""Seconds for the others to end by themselves when one has died, and when one has stopped: they end together, unless it
was stopped before they had met."""

_STOPPED = {128 + signal.SIGTERM, 128 + signal.SIGINT}


def launch_local(arguments: LaunchLocal, words: Sequence[str]) -> int:
    """Start the processes, end all when one fails, and return the exit status of the first that failed."""
    if arguments.num_processes < 1:
        raise UsageError(f"expected one process or more, got {arguments.num_processes}: pass --num-processes 2")
    if list(words[:1]) != ["train"]:
        raise UsageError(
            f"expected a training after --, got {shlex.join(words)!r}: aigc-jax launch local -- train CONFIG"
        )
    commands = _commands(arguments.num_processes, words)
    if arguments.dry_run:
        print("\n".join(shlex.join(["aigc-jax", *command[3:]]) for command in commands))
        return 0
    children: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []
    end_with_this = _ending_with(os.getpid()) if sys.platform == "linux" else None
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in _SIGNALS}
    try:
        for i, command in enumerate(commands):
            children.append(
                subprocess.Popen(command, env=_environment(i), start_new_session=True, preexec_fn=end_with_this)
            )
        status = _wait(children, asked)
    finally:
        for child in children:
            child.kill()  # by its own id; SIGTERM would only ask it to save
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if status:
        resume = shlex.join(["aigc-jax", "launch", "local", "--num-processes", str(len(commands)), "--", *words])
        print(f"aigc-jax: ended with status {status}; to resume: {visible(resume)}", file=sys.stderr)
    return status


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


def _ending_with(parent: int) -> Callable[[], None]:
    """For a new process: to end when its parent does, which cannot end it where it is killed itself."""
    libc = ctypes.CDLL(None)

    def end_with() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)

    return end_with


def _commands(num_processes: int, words: Sequence[str]) -> list[list[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    shared = [sys.executable, "-m", "aigc_jax", *words, "--coordinator", coordinator]
    shared += ["--num-processes", str(num_processes)]
    return [[*shared, "--process-id", str(i)] for i in range(num_processes)]


def _environment(process_id: int) -> dict[str, str]:
    """Of a process: XLA's threads are more than a small machine's cores, and of several GPUs each has its own."""
    return {"PJRT_NPROC": str(max(16, os.cpu_count() or 1)), "JAX_LOCAL_DEVICE_IDS": str(process_id), **os.environ}


def _wait(children: Sequence[subprocess.Popen[Any]], asked: Sequence[int]) -> int:
    """Wait for all, or for the first that fails and a little longer; the exit status of that one.

    A signal to this process reaches the first child, and by it all: they save. A second one ends them at once.
    """
    num_passed_on, deadline, status = 0, float("inf"), 0
    while True:
        codes = [child.poll() for child in children]
        if len(asked) > num_passed_on:
            num_passed_on += 1
            if num_passed_on > 1:
                return status or 128 + asked[-1]
            children[0].send_signal(asked[0])
        if not status:
            # Killed ones have a negative number, and come before those that lost them.
            first = min((code for code in codes if code), default=0)
            status = 128 - first if first < 0 else first
            if status:
                is_stop = first in _STOPPED  # not one that the signal killed
                deadline = time.monotonic() + (_STOP_GRACE if is_stop else _GRACE)
                if not is_stop:
                    _tell(codes.index(first), first)
        if None not in codes or time.monotonic() > deadline:
            return status
        time.sleep(0.05)


def _tell(process_id: int, code: int) -> None:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    print(f"aigc-jax: process {process_id} {how}: ending the others", file=sys.stderr, flush=True)
