"""Ahead-of-time compilation for a TPU that is not there: whether a program fits, and how its chips communicate.

The compiler of libtpu runs on any machine. It is given shapes alone, so that a model of any size is compiled without
memory for its weights.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from jax.stages import Lowered

from aigc_jax.inference.sampling import BLOCK, make_block_fn
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import abstract_batch, abstract_state, training_step
from aigc_jax.train.parallel import Device, make_parallel
from aigc_jax.types import Experiment, UsageError

GIB = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
_OVER = re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(|Used ([\d.]+)([KMGT]?) of")
_LIMIT = re.compile(r"exceeds available HBM \(([\d.]+)([KMGT]?)\)|Used [\d.]+[KMGT]? of ([\d.]+)([KMGT]?)")
_LIBTPU = {"TPU_SKIP_MDS_QUERY": "1", "TPU_LOG_DIR": "disabled", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
_COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(.*channel_id=(\d+)"
)


class Compiled(NamedTuple):
    """A program compiled for a TPU; memory is in bytes of one device."""

    fits: bool
    memory: float  # arguments, results that do not reuse them, temporary values and code; of one that fits not: needed
    temporary: float  # of it, what is needed during the program alone; NaN where it does not fit
    available: float
    seconds: float  # of the compilation
    collectives: Counter[str]  # by kind; one within a loop counts once


def find_topology(topology: str) -> list[Device]:
    """The devices of a TPU topology such as ``v5e:2x4``, which need not exist: they compile, and compute nothing."""
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError("compiling for a TPU needs its compiler, libtpu: pip install 'aigc-jax[tpu]' (on any machine)")
    # Unless told not to, libtpu asks Google's cloud which machine this is, writes logs to /tmp, and lets one process
    # alone use the chips, of which there are none.
    for name, value in _LIBTPU.items():
        os.environ.setdefault(name, value)
    with _without_stderr():
        try:
            return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
        except Exception as error:  # whatever jax and libtpu say of a name
            reason = re.sub(r"\s+", " ", str(error))[:200]
            raise UsageError(
                f"expected a TPU topology such as v5e:2x4 or v5p:2x2x2, got {topology!r} ({reason}): name another"
            ) from error


def lower_step(experiment: Experiment, config: TrainConfig, devices: Sequence[Device]) -> Lowered:
    """The training step of an experiment for devices, as :func:`aigc_jax.train.loop.train` compiles it."""
    num_examples, num_parts = experiment.batch_spec["example"].shape[0], len(devices) // config.mesh.tensor
    parallel = make_parallel(config.parallel, devices, mesh=config.mesh, rules=config.sharding_rules)
    if num_examples % num_parts:
        raise UsageError(
            f"a batch of {num_examples} examples cannot be split evenly over {num_parts} devices: set batch_size to "
            f"a multiple of {num_parts}"
        )
    key, state = jax.eval_shape(lambda: jax.random.key(0)), abstract_state(experiment)
    step: Any = parallel.compile_step(training_step(experiment), state)
    return step.lower(state, abstract_batch(experiment), key)


def lower_sampler(experiment: Experiment, device: Device, block_size: int = BLOCK) -> Lowered:
    """The program of samples on one device, as :mod:`aigc_jax.inference.sampling` compiles it."""
    variables = abstract_state(experiment).variables
    key = jax.eval_shape(lambda: jax.random.key(0))
    index = jax.ShapeDtypeStruct((block_size,), jnp.int32)
    ids = None if experiment.conditions is None else index
    block = jax.jit(make_block_fn(experiment, block_size), in_shardings=SingleDeviceSharding(device))
    return block.lower(variables, key, index, ids)


def compile_lowered(lowered: Lowered, device: Device) -> Compiled:
    """Compile for the TPU of a device; a program that needs too much memory is a result, not an error."""
    begin = time.perf_counter()
    try:
        compiled = _compile(lowered)
    except jax.errors.JaxRuntimeError as error:
        needed = _size(_OVER, str(error))
        if needed is None:
            raise
        return Compiled(False, needed, np.nan, available_memory(device), time.perf_counter() - begin, Counter())
    seconds, used = time.perf_counter() - begin, compiled.memory_analysis()
    fixed = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    memory = fixed + used.temp_size_in_bytes + used.generated_code_size_in_bytes
    collectives = count_collectives(compiled.as_text())
    return Compiled(True, memory, used.temp_size_in_bytes, available_memory(device), seconds, collectives)


def count_collectives(program: str) -> Counter[str]:
    """Collectives of a compiled program by kind, each by its channel: a TPU's are written several times over."""
    kinds, computation = {}, ""
    for line in program.splitlines():
        computation = line if line.startswith(("%", "ENTRY")) else computation
        for kind, channel in _COLLECTIVE.findall(line):
            # How the TPU compiler writes a reduce-scatter: a fusion of an all-reduce and the slice of each device.
            is_scattered = kind == "all-reduce" and computation.startswith("%all-reduce-scatter")
            kinds[channel] = "reduce-scatter" if is_scattered else kind
    return Counter(kinds.values())


def available_memory(device: Device) -> float:
    """Bytes that the compiler gives to a program on a TPU: it names them where a program needs more."""
    too_large = jax.ShapeDtypeStruct((2**20, 2**20), jnp.float32)
    lowered = jax.jit(lambda x: x + 1, in_shardings=SingleDeviceSharding(device)).lower(too_large)
    try:
        _compile(lowered)
    except jax.errors.JaxRuntimeError as error:
        available = _size(_LIMIT, str(error))
        if available is not None:
            return available
        raise
    raise AssertionError("a program of 8 TB compiled for one TPU")


def _compile(lowered: Lowered) -> Any:
    with _without_stderr():
        return lowered.compile()


def _size(pattern: re.Pattern[str], message: str) -> float | None:
    """A size in libtpu's report of memory that does not suffice; None where it reports something else."""
    found = pattern.search(message) if message.startswith("RESOURCE_EXHAUSTED") else None
    if found is None:
        return None
    number, unit = [group for group in found.groups() if group is not None]
    return float(number) * _UNITS[unit]


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Keep off the screen what libtpu writes about a TPU that it does not find."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
