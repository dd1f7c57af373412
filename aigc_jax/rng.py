"""The key policy: the key comes first, is split once, and is split by name.

One root key per run. The key of step t is ``fold_in(root, t)``; the key of an example is ``fold_in(step_key, global
index)``. So a result depends neither on the batch size nor on the number of devices nor on how the work was spread over
them, and a resumed run draws the same as an uninterrupted one.
"""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from aigc_jax.types import Key, Keys, UsageError


def as_key(key: Array) -> Array:
    """Typed keys from keys of any shape, also from raw ones, uint32 [..., words] as from ``jax.random.PRNGKey``."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return key
    if dtype != jnp.uint32:
        raise UsageError(f"expected a key as from jax.random.key(0), got {key!r}: pass jax.random.key(seed)")
    return jax.random.wrap_key_data(key)


def step_key(root: Key, step: int | Int[Array, ""]) -> Key:
    """The key of one training step, which depends on ``root`` and ``step`` alone.

    Args:
        root: the run's key, ``jax.random.key(seed)``.
        step: number of steps made before this one, >= 0.

    >>> import jax
    >>> bool(step_key(jax.random.key(0), 3) == jax.random.fold_in(jax.random.key(0), 3))
    True
    """
    return jax.random.fold_in(as_key(root), step)


def example_keys(key: Array, index: int | Int[Array, " batch"]) -> Keys:
    """One key per example.

    Args:
        key: one key, or an array of keys that already is one per example (returned as it is).
        index: the global index of each example, or a number n for the indices 0 ... n-1.

    Returns:
        Key array [batch]; entry i is ``fold_in(key, index[i])``.

    >>> import jax
    >>> few, many = example_keys(jax.random.key(0), 2), example_keys(jax.random.key(0), 5)
    >>> bool((few == many[:2]).all())
    True
    """
    key = as_key(key)
    if key.ndim == 1:
        return key
    index = jnp.arange(index) if isinstance(index, int) else index
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)


def split_by_name(key: Array, *names: str) -> dict[str, Array]:
    """Split a key into named ones ``{name: key}``; a name's key does not depend on the other names.

    Args:
        key: one key, or an array of keys (each is split).
        *names: purposes of the keys.

    >>> import jax
    >>> keys = split_by_name(jax.random.key(0), "latent", "augment")
    >>> bool(keys["latent"] == split_by_name(jax.random.key(0), "latent")["latent"])
    True
    """
    key = as_key(key)
    fold_in = jax.random.fold_in if key.ndim == 0 else jax.vmap(jax.random.fold_in, in_axes=(0, None))
    # A checksum, not hash(): Python's string hash differs between processes.
    return {name: fold_in(key, jnp.uint32(zlib.crc32(name.encode()))) for name in names}


def normal(keys: Keys, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers float32 [batch, *shape], one key per example."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
