"""Checksums of arrays, which do not depend on the devices and processes that hold their parts.

A checksum such as CRC reads bytes in order, and so needs the whole array in one place. A sum over elements does not:

    h_s = sum_i mix(mix(i) xor bits(x_i) xor s)    mod 2^32,    s = 0, 1        (1)

Each device sums its own part, and only sums travel. The index i makes an exchange of elements visible.

Reference:
    Appleby, MurmurHash3, 2011, ``fmix32``, which is ``mix`` here: a bijection in which each bit of the input changes
    about half of the output.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.types import PyTree

_SEEDS = (0x0, 0x9E3779B9)
_LIMIT = 2**32
"""Elements that one uint32 numbers. Of a larger array, the last axes that stay below it are numbered by one, and the
axes before them by another."""
_CHUNK = 2**15


def checksums(tree: PyTree) -> PyTree:
    """The checksum of each array, an integer below 2^64, in a tree like the given one.

    Numpy arrays are read by the host, arrays of jax by the devices that hold them, without a gather. Either gives the
    same numbers.

    >>> checksums(np.arange(3)) == checksums(np.array([1, 0, 2]))
    False
    """
    leaves, structure = jax.tree.flatten(tree)
    on_devices = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)}
    sums = jax.device_get(jax.jit(_device_sums)(on_devices)) if on_devices else {}
    pairs = [sums[i] if i in sums else _host_sums(np.asarray(leaf)) for i, leaf in enumerate(leaves)]
    return structure.unflatten([int(first) << 32 | int(second) for first, second in pairs])


def _device_sums(arrays: PyTree) -> PyTree:
    return jax.tree.map(_sums_of_array, arrays)


def _sums_of_array(x: jax.Array) -> list[jax.Array]:
    num_rows = _num_row_axes(x.shape)
    row = _flat_index(x.shape, range(num_rows))
    column = _flat_index(x.shape, range(num_rows, x.ndim))
    return _sums(_device_bits(x), row, column)


def _flat_index(shape: tuple[int, ...], axes: range) -> jax.Array:
    """The number of each element among some axes, of the shape of the array: a reshape would move its parts."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis in axes:
        index = index * jnp.uint32(shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return index


def _host_sums(x: np.ndarray) -> list[Any]:
    num_rows = math.prod(x.shape[: _num_row_axes(x.shape)])
    bits, total = _host_bits(np.ascontiguousarray(x)).reshape(num_rows, -1), [np.uint32(0)] * len(_SEEDS)
    for row in range(num_rows):
        # In pieces that fit the processor's cache.
        for start in range(0, bits.shape[1], _CHUNK):
            piece = bits[row, start : start + _CHUNK]
            column = np.arange(start, start + len(piece), dtype=np.uint32)
            sums = _sums(_folded(piece), np.array([row], np.uint32), column)
            total = [np.add(a, b, dtype=np.uint32) for a, b in zip(total, sums, strict=True)]
    return total


def _num_row_axes(shape: tuple[int, ...]) -> int:
    """How many of the first axes are numbered apart, see :data:`_LIMIT`."""
    return next(num for num in range(len(shape) + 1) if math.prod(shape[num:]) <= _LIMIT)


def _sums(bits: Any, row: Any, column: Any) -> list[Any]:
    """Equation (1) of arrays of uint32, of numpy or of jax; the index is a pair."""
    mixed = _mix(column ^ _mix(row)) ^ bits
    return [_mix(mixed ^ np.uint32(seed)).sum(dtype=np.uint32) for seed in _SEEDS]


def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def _host_bits(x: np.ndarray) -> np.ndarray:
    """The elements as unsigned integers of 8 to 64 bits."""
    return x.view(f"u{x.dtype.itemsize}")


def _folded(bits: np.ndarray) -> np.ndarray:
    """Unsigned integers as uint32: small ones widened, of 64 bits both halves."""
    if bits.itemsize < 8:
        return bits.astype(np.uint32)
    return (bits & np.uint64(_LIMIT - 1)).astype(np.uint32) ^ _mix((bits >> np.uint64(32)).astype(np.uint32))


def _device_bits(x: jax.Array) -> jax.Array:
    """As :func:`_host_bits`, folded to uint32."""
    if jnp.iscomplexobj(x):
        return _device_bits(x.real) ^ _mix(_device_bits(x.imag))
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    if x.dtype.itemsize == 8:
        halves = jax.lax.bitcast_convert_type(x, jnp.uint32)
        return halves[..., 0] ^ _mix(halves[..., 1])
    return jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}").astype(jnp.uint32)
