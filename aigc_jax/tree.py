"""Pytrees: averages over time and over devices, norms, arrays by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.types import PyTree


def ema(average: PyTree, new: PyTree, decay: float | Float[Array, ""]) -> PyTree:
    """Exponential moving average ``decay * average + (1 - decay) * new``, leaf by leaf; integers are not averaged."""

    def blend(a: Any, b: Any) -> Any:
        return decay * a + (1 - decay) * b if jnp.issubdtype(jnp.result_type(b), jnp.inexact) else b

    return jax.tree.map(blend, average, new)


def ema_warmup_schedule(decay: float, *, offset: float = 10.0) -> Callable[[Array], Array]:
    """Schedule of the decay of averages that forget their random beginning: min(decay, (1 + t) / (offset + t)).

    Args:
        decay: its limit, in [0, 1).
        offset: > 1; the larger, the shorter the average at a given step; 2 is the plain mean of all values so far.

    >>> schedule = ema_warmup_schedule(0.999)
    >>> float(schedule(jnp.int32(8))), round(float(schedule(jnp.int32(10**6))), 4)
    (0.5, 0.999)
    """

    def schedule(step: Array) -> Array:
        step = step.astype(jnp.float32)
        return jnp.minimum((1.0 + step) / (offset + step), decay)

    return schedule


def global_norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm of all leaves together, 0 for an empty tree."""
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), jnp.float32(0)))


def mean_over_axis(tree: PyTree, axis_name: str | None) -> PyTree:
    """Mean over a device axis (None: no change); integers and booleans must agree and pass a maximum."""
    if axis_name is None:
        return tree

    def reduce(leaf: Array) -> Array:
        is_inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jax.lax.pmean(leaf, axis_name) if is_inexact else jax.lax.pmax(leaf, axis_name)

    return jax.tree.map(reduce, tree)


def to_varying(tree: PyTree, axis_name: str | None) -> PyTree:
    """Mark values as each device's own (None: no change), so that gradients stay local until they are averaged.

    ``jax.shard_map`` otherwise sums the gradient of a replicated value over the devices by itself, and a later mean
    gives N times the gradient, silently.
    """
    if axis_name is None:
        return tree

    def cast(leaf: Array) -> Array:
        try:
            return jax.lax.pcast(leaf, axis_name, to="varying")
        except ValueError:  # varying already; jax has no stable way to ask
            return leaf

    return jax.tree.map(cast, tree)


def named_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """The arrays of a tree by their path, ``params/generator/in/kernel``.

    >>> named_arrays({"params": {"net": {"bias": np.zeros(3)}}})
    {'params/net/bias': array([0., 0., 0.])}
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, order="C")
        for path, leaf in jax.tree.leaves_with_path(tree)
    }
