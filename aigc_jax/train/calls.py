"""Calls of the compiled program, each of one training step or of several.

Of a small network a step is shorter than what the host does between two: in a call of many steps it does so once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.types import Batch, Key, Metrics, TrainState

Step = Callable[[TrainState, Batch, Any], tuple[TrainState, Metrics]]
"""``(state, batch, key) -> (state, metrics)``."""


def call_lengths(start: int, steps: int, steps_per_call: int, intervals: Sequence[int]) -> Iterator[int]:
    """Number of steps of each call, from a step to the end; a call ends wherever one of the intervals does.

    >>> list(call_lengths(0, 10, 4, [5]))
    [4, 1, 4, 1]
    """
    while start < steps:
        ends = [start + steps_per_call, steps, *(start - start % every + every for every in intervals if every)]
        yield min(ends) - start
        start = min(ends)


def stack(batches: Sequence[Mapping[str, np.ndarray]], steps_per_call: int) -> Mapping[str, np.ndarray]:
    """The batches of a call as arrays [B, N, ...]; a shorter call leaves the last of N empty.

    The batch stays the first axis, so that it is split over devices like a single one.
    """
    if steps_per_call == 1:
        return batches[0]
    arrays = {name: np.stack([batch[name] for batch in batches], axis=1) for name in batches[0]}
    missing = steps_per_call - len(batches)
    return {name: np.pad(x, [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)]) for name, x in arrays.items()}


def repeated(step: Step) -> Step:
    """``(state, batches [B, N, ...], (key, num)) -> (state, metrics [N, ...])``: the first num of N steps.

    The number is an input and not part of the program: calls of every length give the same bits.
    """

    def call(state: TrainState, batches: Batch, key_and_num: tuple[Key, jax.Array]) -> tuple[TrainState, Metrics]:
        key, num = key_and_num

        def batch_at(index: jax.Array | int) -> Batch:
            return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 1, keepdims=False), batches)

        def body(index: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, metrics = step(carry[0], batch_at(index), key)
            return state, jax.tree.map(lambda all_, one: all_.at[index].set(one), carry[1], metrics)

        shapes = jax.eval_shape(step, state, batch_at(0), key)[1]
        capacity = jax.tree.leaves(batches)[0].shape[1]
        empty = jax.tree.map(lambda one: jnp.zeros((capacity, *one.shape), one.dtype), shapes)
        return jax.lax.fori_loop(0, num, body, (state, empty))

    return call
