"""Stops a run at the first NaN or infinity, without making the devices wait for the host."""

from __future__ import annotations

import math
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.types import Batch, Key, Metrics, StepFn, TrainState

FLAG = "is_finite"

LAG = 2
"""A step's flag is looked at when this many later steps have been sent to the devices.

That also bounds how far the host runs ahead. It must: with four CPU devices and 32 steps under way, XLA's
collectives wait for each other until they abort the process.
"""


class NonFiniteError(ArithmeticError):
    """Training produced a NaN or an infinity.

    Attributes:
        step: number of steps made, the bad one included.
        name: ``player/metric``, or the path of a parameter.
        value: what it is, nan, inf or -inf.
    """

    def __init__(self, step: int, name: str, value: float, advice: str = "") -> None:
        super().__init__(f"{name} is {value} at step {step}{advice}")
        self.step, self.name, self.value = step, name, value


def with_finite_flag(step: StepFn) -> StepFn:
    """Let a step report whether all its metrics are finite.

    Args:
        step: any training step.

    Returns:
        The same step; its metrics have one more entry, the boolean ``is_finite``.

    >>> step = with_finite_flag(lambda state, batch, key: (state, {"model/loss": batch["x"]}))
    >>> state = TrainState(jnp.int32(0), {}, {}, {}, {})
    >>> bool(step(state, {"x": jnp.float32(jnp.inf)}, jax.random.key(0))[1]["is_finite"])
    False
    """

    def flagged(state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        state, metrics = step(state, batch, key)
        # One scalar computed inside the step: the host has one thing to look at, and no extra program to start.
        flags = [jnp.all(jnp.isfinite(value)) for value in metrics.values()]
        return state, {**metrics, FLAG: jnp.all(jnp.stack(flags)) if flags else jnp.bool_(True)}

    return flagged


class FiniteWatch:
    """Looks at the flags of the steps, :data:`LAG` steps late.

    By then the step has been computed, so that looking costs no waiting; and the host is never further
    ahead of the devices than that.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[int, Metrics]] = deque()

    def push(self, step: int, metrics: Metrics) -> None:
        """Note a step that was sent to the devices, and look at the one :data:`LAG` before it.

        Args:
            step: number of steps made, this one included.
            metrics: what a step made by :func:`with_finite_flag` reports.

        Raises:
            NonFiniteError: the older step's metrics are not finite.
        """
        self._queue.append((step, metrics))
        while len(self._queue) > LAG:
            self._look()

    def drain(self) -> None:
        """Wait for all steps and look at their flags.

        Raises:
            NonFiniteError: a step's metrics are not finite; the first such step is named.
        """
        while self._queue:
            self._look()

    def _look(self) -> None:
        step, metrics = self._queue.popleft()
        if bool(metrics[FLAG]):
            return
        # The loss first: where it is bad, the rest is a consequence or a part of it.
        for name, value in sorted(metrics.items(), key=lambda item: not item[0].endswith("/loss")):
            if not np.all(np.isfinite(value)):
                raise NonFiniteError(step, name, _first_bad(np.asarray(value)))


def check_weights(state: TrainState) -> None:
    """Refuse weights that hold a NaN or an infinity: finite metrics do not exclude that the update overflowed.

    Args:
        state: a plain copy of the state. The optimiser's part is not looked at: infinity is a fair
            starting value of a running minimum.

    Raises:
        NonFiniteError: names the parameter.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path({"params": state.params, "ema_params": state.ema_params})
    for path, leaf in leaves:
        # In float32, since numpy's isfinite does not know bfloat16.
        array = np.asarray(leaf).astype(np.float32)
        if not np.isfinite(array).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise NonFiniteError(int(state.step), name, _first_bad(array))


def _first_bad(array: np.ndarray) -> float:
    bad = array[~np.isfinite(array)].ravel()
    return float(bad[0]) if bad.size else math.nan
