"""Data parallelism: one step function, three thin ways to run it on many devices.

The batch is split over the devices. What differs is who writes the communication: under ``pmap`` and ``shard_map`` the
step itself averages over a named axis (``make_step(axis_name="data")``), under ``jit`` the compiler derives it from
where the arrays lie. Every device holds the state whole, except under ``jit`` with a mesh that splits it, see
:mod:`aigc_jax.train.sharding`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from aigc_jax.rng import step_key
from aigc_jax.train.calls import repeated
from aigc_jax.train.sharding import DATA_PARALLEL, MeshSettings, Rules, batch_sharding, make_mesh, state_shardings
from aigc_jax.types import Batch, Key, Metrics, PyTree, StepFn, TrainState, UsageError, Variables

AXIS = "data"

HostBatch = Mapping[str, np.ndarray]
"""A batch before it is on a device."""

Device = Any
"""A ``jax.Device``, which type checkers do not accept as a type."""

ParallelMode = Literal["pmap", "shard_map", "jit"]

PARALLEL_MODES: tuple[ParallelMode, ...] = get_args(ParallelMode)
"""The ways to run a step on many devices, equal up to rounding; over many steps the weights drift apart."""

CompiledStep = Callable[[TrainState, Batch, Key], tuple[TrainState, Metrics]]
"""``(state, batch, root key) -> (state, metrics)`` on the devices; the state passed in is used up."""


class Parallel(NamedTuple):
    """Functions that place states and batches on devices, run a step there, and fetch the state."""

    check_batch: Callable[[Mapping[str, jax.ShapeDtypeStruct]], None]
    """Raises ``UsageError`` where a global batch of such shapes cannot be split over the devices."""
    put_state: Callable[[PyTree], PyTree]  # copies a plain pytree (a state, a key) to every device that holds a part
    put_batch: Callable[[HostBatch], Batch]  # splits this process's part of a batch (numpy) over this process's devices
    compile_step: Callable[..., CompiledStep]
    """``(step, shapes=None, *, is_repeated=False)``: compiles a step; see :data:`CompiledStep`. The key of the step is
    derived from the root key and ``state.step`` inside. The state is donated: its buffers are reused. ``shapes`` are
    those of the state, without which it is held whole. A repeated step takes the batches of several steps, and its
    number besides the key, see :func:`aigc_jax.train.calls.repeated`."""
    get_state: Callable[[PyTree], PyTree]  # a fresh plain copy, on one device, of a state, or of a part of one, on many
    shardings: Callable[[TrainState], TrainState] | None
    """``state or shapes -> where its arrays lie``; None where every device holds all of them."""

    def placed(self, shapes: TrainState) -> TrainState:
        """The shapes of a state, with the sharding of each array where devices hold parts."""
        if self.shardings is None:
            return shapes

        def place(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        return jax.tree.map(place, shapes, self.shardings(shapes))

    def kept_state(self, state: TrainState) -> TrainState:
        """The state as it is checked, saved and returned: a plain copy; in parts where no device holds the whole."""
        return self.get_state(state) if self.shardings is None else state

    def get_variables(self, kept: TrainState) -> Variables:
        """The weights to sample with, on one device; of a state in parts they alone are gathered."""
        return kept.variables if self.shardings is None else self.get_state(kept.variables)


def find_devices() -> list[Device]:
    """The devices of all processes in their order; UsageError where JAX cannot open what JAX_PLATFORMS names."""
    try:
        # JAX promises no order. Each process is to hold consecutive examples of a batch.
        return sorted(jax.devices(), key=lambda device: device.process_index)
    except Exception as error:  # of CUDA without its plugin a bare AssertionError
        asked, reason = os.environ.get("JAX_PLATFORMS", ""), str(error).partition(" (set JAX_PLATFORMS")[0]
        raise UsageError(
            f"JAX cannot open the devices of JAX_PLATFORMS={asked!r} ({reason or type(error).__name__}): install its "
            "support, for example pip install 'aigc-jax[cuda]', or unset JAX_PLATFORMS"
        ) from error


def axis_name(mode: ParallelMode) -> str | None:
    """The ``axis_name`` that ``make_step`` needs under a parallel mode.

    Args:
        mode: one of :data:`PARALLEL_MODES`.

    Returns:
        The name of the device axis; None where the compiler finds the communication itself.

    >>> axis_name("pmap"), axis_name("jit")
    ('data', None)
    """
    return None if mode == "jit" else AXIS


def make_parallel(
    mode: ParallelMode,
    devices: Sequence[Device] | None = None,
    *,
    mesh: MeshSettings = DATA_PARALLEL,
    rules: Rules = (),
) -> Parallel:
    """A way to run steps on some devices of all processes, None for all there are.

    ``mesh`` and ``rules`` say how mode ``jit`` splits the state, see :mod:`aigc_jax.train.sharding`.
    """
    _check_mode(mode, mesh, rules)
    devices = find_devices() if devices is None else list(devices)
    local = [device for device in devices if device.process_index == jax.process_index()]
    # pmap takes and gives what belongs to this process; the other two see the arrays of all processes.
    grid = make_mesh(mesh, devices) if mode == "jit" else _mesh(local if mode == "pmap" else devices)
    split = batch_sharding(grid) if mode == "jit" else NamedSharding(grid, PartitionSpec(AXIS))
    whole, num_parts = NamedSharding(grid, PartitionSpec()), len(local) // mesh.tensor
    shardings = functools.partial(state_shardings, mesh=grid, rules=rules) if mesh.is_sharded or rules else None

    on_local = NamedSharding(_mesh(local), PartitionSpec())
    copy_to_local = jax.jit(_copy, out_shardings=on_local)

    def put_state(state: PyTree) -> PyTree:
        if shardings is not None and isinstance(state, TrainState):
            return jax.tree.map(_put, state, shardings(state))
        # On a CPU, device_put may give every device the same memory, the caller's, whatever may_alias says. The
        # step donates what it is given, so each device needs its own: only a computed copy is one.
        return jax.tree.map(join, copy_to_local(jax.device_put(state, on_local)))

    def join(leaf: jax.Array) -> jax.Array:
        parts = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, whole, parts)

    def put_batch(batch: HostBatch) -> Batch:
        arrays = {name: np.asarray(array) for name, array in batch.items()}
        _check_split({name: len(array) for name, array in arrays.items()}, num_parts)
        if mode == "pmap":
            arrays = {name: array.reshape(len(local), -1, *array.shape[1:]) for name, array in arrays.items()}
        return {name: jax.make_array_from_process_local_data(split, array) for name, array in arrays.items()}

    def compile_step(step: StepFn, shapes: TrainState | None = None, *, is_repeated: bool = False) -> CompiledStep:
        run = repeated(_with_step_key(step)) if is_repeated else _with_step_key(step)
        if mode == "pmap":
            axes = {"in_axes": (None, 0, None), "out_axes": None}
            return jax.pmap(run, axis_name=AXIS, devices=devices, donate_argnums=0, **axes)
        if mode == "shard_map":
            specs = (PartitionSpec(), PartitionSpec(AXIS), PartitionSpec())
            run = jax.shard_map(run, mesh=grid, in_specs=specs, out_specs=PartitionSpec())
        states = whole if shardings is None or shapes is None else shardings(shapes)
        return jax.jit(run, in_shardings=(states, split, whole), out_shardings=(states, whole), donate_argnums=0)

    def check_batch(spec: Mapping[str, jax.ShapeDtypeStruct]) -> None:
        sizes = {name: jax.tree.leaves(each)[0].shape[0] // jax.process_count() for name, each in spec.items()}
        _check_split(sizes, num_parts)

    def get_state(state: PyTree) -> PyTree:
        return _one_copy(state) if shardings is None else jax.tree.map(lambda leaf: _gathered(leaf, whole), state)

    return Parallel(check_batch, put_state, put_batch, compile_step, get_state, shardings)


def _check_mode(mode: ParallelMode, mesh: MeshSettings, rules: Rules) -> None:
    if mode not in PARALLEL_MODES:
        raise UsageError(f"expected a parallel mode out of {', '.join(PARALLEL_MODES)}, got {mode!r}: choose one")
    if mode != "jit" and (mesh != DATA_PARALLEL or rules):
        raise UsageError(
            f"--parallel {mode} splits batches alone, and takes no --mesh or --sharding-rules: add --parallel jit"
        )


def _mesh(devices: Sequence[Device]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def _with_step_key(step: StepFn) -> CompiledStep:
    def keyed(state: TrainState, batch: Batch, root: Key) -> tuple[TrainState, Metrics]:
        return step(state, batch, step_key(root, state.step))

    return keyed


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)


def _one_copy(state: PyTree) -> PyTree:
    """Take one device's part: the whole state, since every device holds all of it."""
    # A copy, so that donating the state to the next step leaves it alone.
    return jax.jit(_copy)(jax.tree.map(lambda leaf: leaf.addressable_data(0), state))


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array in parts on devices, each of which is given its own part alone."""
    if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
        return leaf  # made or restored in parts
    host, indices = np.asarray(leaf), sharding.addressable_devices_indices_map(np.shape(leaf))
    # A copy for each device, for the reason that put_state gives.
    parts = [jax.device_put(np.array(host[index], order="C"), device) for device, index in indices.items()]
    return jax.make_array_from_single_device_arrays(host.shape, sharding, parts)


def _gathered(leaf: jax.Array, whole: NamedSharding) -> jax.Array:
    """One array of a state in parts, whole on one device: the others keep it no longer than the gather takes."""
    return jax.jit(jnp.copy, out_shardings=whole)(leaf).addressable_data(0)


def _check_split(sizes: Mapping[str, int], num_local: int) -> None:
    """Refuse a part of a batch, of this process, that its devices cannot share evenly."""
    num_processes = jax.process_count()
    if any(size % num_local for size in sizes.values()):
        where = f"{num_local} devices" if num_processes == 1 else f"the {num_local} devices of each process"
        raise UsageError(
            f"a batch of {max(sizes.values())} examples cannot be split evenly over {where}: "
            f"set batch_size to a multiple of {num_local * num_processes}"
        )
