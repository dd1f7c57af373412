"""Checksums: one number per array, whoever holds its parts, and another one after any small change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from aigc_jax.train import array_checksum
from aigc_jax.train.array_checksum import checksums

DTYPES = ["float32", "bfloat16", "float16", "int8", "uint8", "int32", "bool", "complex64"]


def example(dtype="float32", shape=(16, 12)):
    x = np.random.default_rng(0).normal(size=shape) * 40
    return (x > 0) if dtype == "bool" else np.asarray(x).astype(jnp.dtype(dtype))


def fmix32(x):
    """Appleby's mixer in Python's integers."""
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return x ^ x >> 16


def by_definition(x):
    """The sum element by element, in Python's integers."""
    bits = [int.from_bytes(each.tobytes(), "little") for each in x.ravel()]
    sums = [sum(fmix32(fmix32(i) ^ b ^ s) for i, b in enumerate(bits)) % 2**32 for s in (0, 0x9E3779B9)]
    return sums[0] << 32 | sums[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
def test_checksum_is_the_sum_of_its_definition(dtype):
    x = example(dtype)
    assert checksums(x) == by_definition(x)
    # More elements than are read in one piece.
    long = np.resize(x, (2, array_checksum._CHUNK + 7))
    assert checksums(long) == by_definition(long)


def test_fmix32_is_that_of_murmur3():
    # MurmurHash3_x86_32 of four zero bytes, seed 0, is published as 0x2362F9DE; before the mixer it has this state.
    assert fmix32(0xE6546B64 ^ 4) == 0x2362F9DE


def test_checksum_of_devices_is_that_of_the_host_for_every_dtype():
    trees = {dtype: example(dtype) for dtype in DTYPES} | {"scalar": np.float32(3), "empty": np.zeros((0, 4), "int8")}
    assert checksums(jax.tree.map(jnp.asarray, trees)) == checksums(trees)


def test_checksum_of_64_bits_is_that_of_the_host():
    x = example("float64")
    with jax.enable_x64(True):
        assert checksums(jnp.asarray(x)) == checksums(x)
    swapped = x.view(np.uint32).reshape(*x.shape, 2)[..., ::-1].copy().view(np.float64)[..., 0]
    assert checksums(swapped) != checksums(x)


@functools.cache
def mesh():
    return jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)


SPECS = [P(), P("a"), P(None, "b"), P("b", "a"), P(("a", "b"))]


def test_checksum_does_not_depend_on_the_sharding():
    x = example()
    split = [jax.device_put(x, NamedSharding(mesh(), spec)) for spec in SPECS]
    assert set(checksums(split)) == {checksums(x)}


def test_checksum_is_computed_without_a_gather():
    split = [jax.device_put(example(shape=(16, 16)), NamedSharding(mesh(), spec)) for spec in SPECS[1:]]
    text = jax.jit(array_checksum._device_sums).lower(split).compile().as_text()
    assert "all-reduce" in text
    for moving in ("all-gather", "all-to-all", "collective-permute"):
        assert moving not in text


@pytest.mark.parametrize("dtype", DTYPES)
def test_checksum_changes_with_any_bit(dtype):
    x = example(dtype, shape=(3, 5))
    bits = x.view(np.uint8).reshape(-1)
    seen = {checksums(x)}
    for position in range(bits.size):
        for bit in range(1 if dtype == "bool" else 8):
            bits[position] ^= 1 << bit
            seen.add(checksums(x))
            bits[position] ^= 1 << bit
    assert len(seen) == 1 + bits.size * (1 if dtype == "bool" else 8)


def test_checksum_changes_with_an_exchange_of_rows_or_shape():
    x = example()
    exchanged = x.copy()
    exchanged[[2, 9]] = x[[9, 2]]
    assert len({checksums(each) for each in (x, exchanged, x.T, x[::-1], np.zeros_like(x), -np.zeros_like(x))}) == 6


def test_checksum_numbers_arrays_beyond_32_bits_by_pairs(monkeypatch):
    x = np.zeros((3, 4, 5), np.float32)
    plain = checksums(x)
    monkeypatch.setattr(array_checksum, "_LIMIT", 5)
    jax.clear_caches()
    pairs = checksums(x)
    assert checksums(jnp.asarray(x)) == pairs != plain
    x[1, 2, 3] = 1.0
    moved = np.roll(x, 1, axis=0), np.roll(x, 1, axis=1), np.roll(x, 1, axis=2)
    assert len({pairs, *map(checksums, (x, *moved))}) == 5


def test_checksums_keep_the_tree():
    assert checksums({"a": (np.zeros(2),), "b": None}).keys() == {"a", "b"}
