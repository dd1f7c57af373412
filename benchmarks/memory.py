"""Memory of a training state on each device, by the size of the mesh's fsdp axis; the devices are faked on a CPU."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence

import jax

from aigc_jax.runs import load_config
from aigc_jax.train.loop import abstract_state, initial_state
from aigc_jax.train.parallel import Device, make_parallel
from aigc_jax.train.sharding import MIN_SIZE, MeshSettings
from aigc_jax.types import Experiment, PyTree, UsageError
from benchmarks.common import num_params

MB = 1e6


def run(args: argparse.Namespace) -> int:
    """Print the bytes of the weights, averages and optimiser's state that the fullest device holds."""
    try:
        jax.config.update("jax_num_cpu_devices", args.devices)
    except RuntimeError as error:
        raise UsageError("expected a process in which jax has not started: python -m benchmarks memory") from error
    devices = jax.devices("cpu")
    print(f"jax {jax.__version__}, {len(devices)} devices faked on a CPU; MB are 10^6 bytes of a device")
    sizes = [2**i for i in range(1, len(devices).bit_length()) if len(devices) % 2**i == 0]
    columns = "".join(f"{f'fsdp {size}':>10}" for size in sizes)
    print(f"{'experiment':22}{'parameters':>12}{'whole':>10}{columns}{'share':>8}{'small':>8}")
    for name in args.configs:
        module = load_config(name)
        experiment = module.build(module.Config(parallel="jit"))
        state = abstract_state(experiment)
        found = [state_bytes(experiment, size, devices) for size in sizes]
        whole, small = sum(map(_bytes, jax.tree.leaves(state))), _small(state)
        row = "".join(f"{each / MB:>10.2f}" for each in found)
        numbers = f"{found[-1] / whole:>8.3f}{small / whole:>8.3f}"
        print(f"{name:22}{num_params(state):>12,}{whole / MB:>10.2f}{row}{numbers}", flush=True)
    return 0


def state_bytes(experiment: Experiment, fsdp: int, devices: Sequence[Device]) -> int:
    """Bytes of the first state on the device that holds most of it, measured on the arrays there."""
    parallel = make_parallel("jit", devices, mesh=MeshSettings(fsdp=fsdp))
    held: Counter[int] = Counter()
    for leaf in jax.tree.leaves(initial_state(experiment, 0, parallel.shardings)):
        for shard in leaf.addressable_shards:
            held[shard.device.id] += shard.data.nbytes
    return max(held.values())


def _small(state: PyTree) -> int:
    """Bytes of the arrays that every device holds, since they are small."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(state) if math.prod(leaf.shape) < MIN_SIZE)


def _bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return math.prod(leaf.shape) * leaf.dtype.itemsize
