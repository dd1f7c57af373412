"""Sharding of a training state over a mesh of devices, by rules over the paths of its parameters.

The batch is split over the axes ``data`` and ``fsdp``. Parameters, their averages and the optimiser's state are split
over ``fsdp`` (fully sharded data parallelism), so that they need less memory on each device, and over ``tensor``, which
splits the work of a layer too. The compiler derives the communication from where the arrays lie.

Reference:
    Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", 2020 (stage 3); Shoeybi
    et al., "Megatron-LM", 2019, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aigc_jax.types import TrainState, UsageError

AXES = ("data", "fsdp", "tensor")

MIN_SIZE = 16_384
"""Arrays of fewer elements stay whole: communication of many small ones costs more than their memory."""

Rules = Sequence[tuple[str, str]]
"""``(pattern, spec)``: the first pattern found in a parameter's path, ``denoiser/blocks/hidden/kernel``, decides.

A spec is ``largest``, the largest axis that divides, over fsdp; or an entry (none, data, fsdp, tensor) for each of the
last axes of an array, with commas between, so that it fits blocks in a scan too, which have one more axis in front."""

TENSOR_RULES: Rules = (
    # A layer's outputs are split, and the inputs of the next one: one sum over devices for each pair of layers.
    (r"(^|/)qkv/kernel$", "fsdp,tensor"),
    (r"(^|/)hidden/kernel$", "fsdp,tensor"),
    (r"(^|/)blocks/(.*/)?out/kernel$", "tensor,fsdp"),
)
"""Attention (qkv, out) and the perceptron (hidden, out) of a transformer's blocks, where the mesh has a tensor axis."""

DEFAULT_RULES: Rules = (("", "largest"),)


@dataclass(frozen=True)
class MeshSettings:
    """Devices along the axes of the mesh of --parallel jit; their product is the number of devices."""

    data: int = -1
    """Devices that split the batch, and each hold all weights; -1 for as many as there are."""
    fsdp: int = 1
    """Devices that split the batch and the state (weights, optimiser, averages): less memory, more communication."""
    tensor: int = 1
    """Devices that split the layers of a transformer and share a part of the batch."""

    @property
    def is_sharded(self) -> bool:
        """Whether a device holds less than the whole state."""
        return (self.fsdp, self.tensor) != (1, 1)

    def sizes(self, num_devices: int) -> tuple[int, int, int]:
        """Devices along data, fsdp and tensor; UsageError where they do not multiply to their number.

        >>> MeshSettings(fsdp=8).sizes(16)
        (2, 8, 1)
        """
        rest = self.fsdp * self.tensor
        data = num_devices // max(rest, 1) if self.data == -1 else self.data
        if min(data, rest) < 1 or data * rest != num_devices:
            raise UsageError(
                f"expected a mesh of {num_devices} devices, got data {self.data}, fsdp {self.fsdp}, tensor "
                f"{self.tensor}: set --mesh.fsdp and --mesh.tensor to divisors of {num_devices}, and leave --mesh.data "
                "out"
            )
        return data, self.fsdp, self.tensor


DATA_PARALLEL = MeshSettings()
"""All devices along data: each holds the whole state."""


def make_mesh(settings: MeshSettings, devices: Sequence[Any]) -> Mesh:
    """The mesh of axes data, fsdp and tensor over devices, which need not exist (those of a topology do not).

    Slices come first: connected by the slow network, they differ along the data axis, where that is long enough. Within
    one, those of a process stay together, so that each process holds consecutive examples of a batch.
    """
    sizes = settings.sizes(len(devices))
    ordered = sorted(devices, key=lambda each: (getattr(each, "slice_index", None) or 0, each.process_index))
    num_local = sum(device.process_index == ordered[0].process_index for device in ordered)
    if num_local % settings.tensor:
        raise UsageError(
            f"expected the devices of a process to be a multiple of --mesh.tensor, got {num_local} and "
            f"{settings.tensor}: devices that share a part of the batch must be of one process; use --mesh.fsdp"
        )
    return Mesh(np.array(ordered, dtype=object).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """A batch is split over data and fsdp alike; devices along tensor hold the same examples."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def state_shardings(state: TrainState, mesh: Mesh, rules: Rules = ()) -> TrainState:
    """The sharding of every array of a state, arrays or shapes, in a tree like it.

    Moments of an optimiser and averages are split as the parameter that their path ends with, where they have its
    shape; other arrays by their own path.
    """
    built_in = [*(TENSOR_RULES if mesh.shape["tensor"] > 1 else ()), *DEFAULT_RULES]
    shapes = {_path(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(state.params)}

    def sharding(path: Any, leaf: Any) -> NamedSharding:
        name = _parameter(_path(path), leaf.shape, shapes)
        return NamedSharding(mesh, _spec(name, leaf.shape, mesh.shape, rules, built_in))

    return jax.tree.map_with_path(sharding, state)


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _parameter(path: str, shape: tuple[int, ...], parameters: Mapping[str, tuple[int, ...]]) -> str:
    """The parameter to which an array of a state belongs, ``opt_state/net/0/mu/in/kernel`` to ``net/in/kernel``."""
    _, *parts = path.split("/")
    for i in range(1, len(parts) + 1):
        name = "/".join([parts[0], *parts[i:]])
        if parameters.get(name) == shape:
            return name
    return path


def _spec(name: str, shape: tuple[int, ...], sizes: Mapping[str, int], rules: Rules, built_in: Rules) -> PartitionSpec:
    for pattern, spec in rules:  # as the user wants it, however small the array is
        if _found(pattern, name):
            return _largest(shape, sizes) if spec == "largest" else _of_last_axes(spec, name, shape, sizes)
    if np.prod(shape, dtype=np.int64) < MIN_SIZE:
        return PartitionSpec()
    spec = next(spec for pattern, spec in built_in if _found(pattern, name))
    return _largest(shape, sizes) if spec == "largest" else _of_last_axes(spec, name, shape, sizes)


def _found(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise UsageError(f"expected a pattern in --sharding-rules, got {pattern!r} ({error}): mend it") from None


def _largest(shape: tuple[int, ...], sizes: Mapping[str, int]) -> PartitionSpec:
    """The largest axis that divides, over fsdp; the whole array where none does."""
    divided = [axis for axis, size in enumerate(shape) if size % sizes["fsdp"] == 0]
    if not divided:
        return PartitionSpec()
    axis = max(divided, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * axis, "fsdp")


def _of_last_axes(spec: str, name: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> PartitionSpec:
    entries = [None if entry == "none" else entry for entry in spec.split(",")]
    used = [entry for entry in entries if entry is not None]
    if not set(used) <= set(AXES) or len(set(used)) < len(used) or len(entries) > len(shape):
        raise UsageError(
            f"expected a spec of the {len(shape)} axes of {name} at most, each none, {', '.join(AXES)} once, got "
            f"{spec!r}: change --sharding-rules"
        )
    entries = [None] * (len(shape) - len(entries)) + entries
    for size, entry in zip(shape, entries, strict=True):
        if entry is not None and size % sizes[entry]:
            raise UsageError(
                f"expected an axis of {name} {list(shape)} that {sizes[entry]} devices along {entry} divide, got "
                f"{size} (spec {spec}): change --mesh.{entry}, or give --sharding-rules of your own"
            )
    return PartitionSpec(*entries)
