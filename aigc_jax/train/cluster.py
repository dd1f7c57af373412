"""Several processes that train one run: which one this is, where all of them meet, and where its output goes.

The runtime is JAX's own (``jax.distributed``), and so is the detection of the cluster: Cloud TPU, GKE and other
Kubernetes, SLURM, Open MPI, mpi4py.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import faulthandler
import importlib.util
import ipaddress
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import jax
import numpy as np
from jax._src.clusters import ClusterEnv  # JAX has no public way to see what it would detect
from jax.experimental import multihost_utils

from aigc_jax.data.files import visible
from aigc_jax.types import UsageError

INITIALIZATION_TIMEOUT = 1800
"""Seconds for all processes to start: images are pulled and machines come up one after the other."""

HEARTBEAT_TIMEOUT = 30
"""Seconds after which a process that sends no heartbeat counts as dead; JAX then ends the others."""

_SHARED_FILES_TIMEOUT = 60.0  # network file systems show a new file of another host after their cache's time


class Address(NamedTuple):
    """Who this process is and where all meet; None is to be detected from the cluster's environment."""

    coordinator: str | None = None  # HOST:PORT of process 0
    num_processes: int | None = None
    process_id: int | None = None


class LostPeerError(RuntimeError):
    """Another process of this training has died; exit status 75, started again the run goes on."""


@contextlib.contextmanager
def joined_cluster(given: Address, run: Path) -> Iterator[None]:
    """Join the other processes; meanwhile only process 0 prints, and each one has its log in ``RUN/logs``.

    Before JAX opens a device.

    Raises:
        UsageError: no cluster is found or an address cannot work.
        LostPeerError: instead of what JAX or gloo say of a process that died.
    """
    address, local_devices = _detect(given)
    _check(address)
    with _process_log(run, address):
        try:
            _initialize(address, local_devices)
            _check_shared(run, address)
            yield
        except Exception as error:
            # A checkpoint that cannot be written since another process has ended is a UsageError otherwise.
            if "Gloo" in str(error) or (_LOST.search(str(error)) and not isinstance(error, UsageError)):
                raise LostPeerError(
                    f"process {address.process_id}: another process has ended ({visible(str(error))[:200]}): see its "
                    f"own line or log in {visible(str(run / 'logs'))}, and start all again; the run goes on from its "
                    "last checkpoint"
                ) from error
            raise
        # All end together: the coordinator lives in process 0, and without it JAX ends the others by force.
        jax.distributed.shutdown()


_LOST = re.compile("UNAVAILABLE|DEADLINE_EXCEEDED|[Cc]oordination|[Hh]eartbeat|[Bb]arrier|by peer")


def check_agreement(name: str, value: int) -> None:
    """Refuse to go on where processes differ, which would have them wait for one another without end."""
    if jax.process_count() == 1:
        return
    values = np.ravel(multihost_utils.process_allgather(np.int32(value)))
    if len(set(values.tolist())) > 1:
        raise UsageError(
            f"expected the same {name} in all processes, got {values.tolist()}: the run directory must be on a file "
            "system that all hosts share"
        )


def _detect(given: Address) -> tuple[Address, list[int] | None]:
    """Fill in what is not given from the cluster's environment; also the devices that it gives to this process."""
    method = None
    # Open MPI 5 and other MPIs tell mpi4py alone; JAX asks it on request only.
    is_mpi = any(name in os.environ for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"))
    if is_mpi and "OMPI_MCA_orte_hnp_uri" not in os.environ and importlib.util.find_spec("mpi4py"):
        method = "mpi4py"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Kubernetes without its package: said below
        try:
            coordinator, num_processes, process_id, local_devices = ClusterEnv.auto_detect_unset_distributed_params(
                *given, None, method, INITIALIZATION_TIMEOUT
            )
        except Exception as error:
            if None not in given:
                return given, None
            raise UsageError(
                f"cannot read who this process is from the cluster ({visible(str(error))[:200]}): pass --coordinator "
                "HOST:PORT --num-processes N --process-id I"
            ) from error
    address = Address(coordinator, num_processes, process_id)
    if None not in address:
        # Several processes within one task of a cluster are told their devices apart from it.
        if local_devices is None or "JAX_LOCAL_DEVICE_IDS" in os.environ:
            return address, None
        return address, list(local_devices)
    if "KUBERNETES_SERVICE_HOST" in os.environ and importlib.util.find_spec("kubernetes") is None:
        raise UsageError("JAX needs the package kubernetes to find its processes here: pip install 'jax[k8s]'")
    options = {"--coordinator HOST:PORT": 0, "--num-processes N": 1, "--process-id I": 2}
    missing = " ".join(option for option, i in options.items() if address[i] is None)
    raise UsageError(
        f"found no cluster (of Cloud TPU, Kubernetes, SLURM, Open MPI): pass {missing} too, in every process, or "
        "use aigc-jax launch local"
    )


def _check(address: Address) -> None:
    """Refuse an address that cannot work, before waiting half an hour for it."""
    coordinator, num_processes, process_id = address
    host, _, port = (coordinator or "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"expected --coordinator HOST:PORT, got {visible(str(coordinator))!r}: name process 0's host")
    if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
        raise UsageError(f"expected --process-id in 0 ... --num-processes - 1, got {process_id} of {num_processes}")
    if num_processes > 1:
        _check_loopback(host.strip("[]"))
    if process_id == 0:
        try:
            with socket.create_server(("", int(port))):
                pass
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} of this host is in use: choose another --coordinator port") from error


def _check_loopback(host: str) -> None:
    """Refuse a coordinator that each host would look for in itself."""
    is_named_so = host == "localhost" or _is_loopback(host)
    if is_named_so and not _has_several_hosts():
        return  # all processes are on this machine
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return  # a name of a cluster may appear later: JAX waits for it
    if found and all(_is_loopback(each) for each in found):
        raise UsageError(
            f"the coordinator {visible(host)} is {min(found)} here, an address inside this host: pass --coordinator "
            "with an address that all hosts reach (or 127.0.0.1 where all processes are on one host)"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _has_several_hosts() -> bool:
    """Whether the cluster says that it spans several hosts."""
    counts = [os.environ.get(name, "1") for name in ("SLURM_STEP_NUM_NODES", "SLURM_JOB_NUM_NODES")]
    return any(count.isdecimal() and int(count) > 1 for count in counts) or "," in os.environ.get(
        "TPU_WORKER_HOSTNAMES", ""
    )


def _initialize(address: Address, local_devices: list[int] | None) -> None:
    # On several CPUs, and for the host's own collectives; JAX's default, which a user may have changed.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            *address,
            local_device_ids=local_devices,
            cluster_detection_method="deactivate",
            initialization_timeout=INITIALIZATION_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
        )
    except RuntimeError as error:
        raise UsageError(
            f"process {address.process_id} cannot join the {address.num_processes} processes at {address.coordinator} "
            f"({visible(str(error))[:200]}): start them all, with a --coordinator address that each reaches"
        ) from error


@contextlib.contextmanager
def _process_log(run: Path, address: Address) -> Iterator[None]:
    """Open ``logs/process_3.txt``: it takes all that a process other than the first prints, and the stacks at a crash.

    Process 0 prints to its terminal, and what JAX's C++ code prints there is in no file.
    """
    file = log_file(run, address.process_id or 0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        log = file.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise UsageError(f"cannot write {visible(str(file))} ({error.strerror}): choose another --workdir") from error
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    log.write(
        f"{now} process {address.process_id} of {address.num_processes}, pid {os.getpid()} on {socket.gethostname()}, "
        f"coordinator {address.coordinator}\n"
    )
    terminal = _Terminal(os.dup(2), _announce_sudden_end(address, run))
    _terminals.append(terminal)
    faulthandler.enable(log)
    with contextlib.ExitStack() as stack:
        stack.callback(terminal.announcer.communicate, b"\n")
        stack.callback(_terminals.remove, terminal)
        if address.process_id != 0:
            stack.enter_context(_redirected(1, log.fileno()))
            stack.enter_context(_redirected(2, log.fileno()))
        try:
            yield
        except BaseException as error:
            log.write(f"ended by {type(error).__name__}: {visible(str(error))}\n")
            raise
        log.write("ended\n")


def log_file(run: Path, process_id: int) -> Path:
    """The log of a process of several."""
    return run / "logs" / f"process_{process_id}.txt"


@contextlib.contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    """Redirect a descriptor: C++ code that prints knows nothing of sys.stdout."""
    streams = (sys.stdout, sys.stderr)
    for stream in streams:
        stream.flush()
    before = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
        os.dup2(before, descriptor)
        os.close(before)


class _Terminal(NamedTuple):
    descriptor: int  # where standard error went before it was redirected
    announcer: subprocess.Popen[bytes]


_terminals: list[_Terminal] = []  # at most one


def end_process(line: str, status: int) -> NoReturn:
    """Print a line to the terminal and end at once, whatever other threads wait for."""
    for terminal in _terminals:
        terminal.announcer.communicate(b"\n")
    os.write(_terminals[0].descriptor if _terminals else 2, f"{line}\n".encode())
    os._exit(status)


def _announce_sudden_end(address: Address, run: Path) -> subprocess.Popen[bytes]:
    """Start a shell that prints one line when this process ends without a word, and none after a line of input.

    Where another process has died, JAX ends this one by abort(), after which no Python runs.
    """
    line = (
        f"aigc-jax: process {address.process_id} of {address.num_processes} was killed, or ended by JAX since another "
        f"one died: see {visible(str(run / 'logs'))}, and start all again; the run goes on from its last checkpoint"
    )
    command = ["sh", "-c", 'read -r _ || echo "$0" >&2', line]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _check_shared(run: Path, address: Address) -> None:
    """Refuse run directories that are not one: checkpoints would be written in parts to several."""
    wanted = [log_file(run, process) for process in range(address.num_processes or 1)]
    multihost_utils.sync_global_devices("logs are open")
    deadline = time.monotonic() + _SHARED_FILES_TIMEOUT
    while missing := [file for file in wanted if not file.exists()]:
        if time.monotonic() > deadline:
            raise UsageError(
                f"{visible(str(run))} of this host does not hold {missing[0].name} of another process: choose a "
                "--workdir on a file system that all hosts share"
            )
        time.sleep(0.5)
