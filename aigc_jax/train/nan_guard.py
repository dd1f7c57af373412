"""Detection of NaN and infinity during training, without making the devices wait for the host."""

from __future__ import annotations

import math
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np

from aigc_jax.types import Batch, Key, Metrics, StepFn, TrainState

FLAG = "is_finite"

LAG = 2
"""Number of later calls that are dispatched before the flags of a call are read.

It also bounds how far the host runs ahead. That matters: with four CPU devices and 32 steps in flight, XLA's
collectives wait for each other until they abort the process.
"""


class NonFiniteError(ArithmeticError):
    """A NaN or an infinity, found after ``step`` steps: ``name`` is ``player/metric``, or the path of a parameter."""

    def __init__(self, step: int, name: str, value: float, advice: str = "") -> None:
        super().__init__(f"{name} is {value} at step {step}{advice}")
        self.step, self.name, self.value = step, name, value


def with_finite_flag(step: StepFn) -> StepFn:
    """Add the boolean metric ``is_finite`` to a training step: whether all its other metrics are finite."""

    def flagged(state: TrainState, batch: Batch, key: Key) -> tuple[TrainState, Metrics]:
        state, metrics = step(state, batch, key)
        # One scalar, computed inside the step: the host reads one value, and no further program is launched.
        flags = [jnp.all(jnp.isfinite(value)) for value in metrics.values()]
        return state, {**metrics, FLAG: jnp.all(jnp.stack(flags)) if flags else jnp.bool_(True)}

    return flagged


class NanGuard:
    """Reads the flag of each step :data:`LAG` steps later, when it has been computed and reading does not block."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int, Metrics]] = deque()

    def push(self, step: int, metrics: Metrics, num_steps: int = 1) -> None:
        """Queue the metrics of a dispatched call of steps, the last of which is given; check the call LAG before it."""
        self._queue.append((step, num_steps, metrics))
        while len(self._queue) > LAG:
            self._check_oldest()

    def drain(self) -> None:
        """Wait for all queued steps and check them; NonFiniteError names the first step that fails."""
        while self._queue:
            self._check_oldest()

    def _check_oldest(self) -> None:
        step, num_steps, metrics = self._queue.popleft()
        flags = np.atleast_1d(metrics[FLAG])  # a call of several steps has one of each, and may be shorter than that
        if flags[:num_steps].all():
            return
        bad = int(np.argmin(flags))
        # The loss first: the other metrics follow from it.
        for name, value in sorted(metrics.items(), key=lambda item: not item[0].endswith("/loss")):
            of_step = np.reshape(value, (len(flags), -1))[bad]
            if not np.all(np.isfinite(of_step)):
                raise NonFiniteError(step - num_steps + 1 + bad, name, _first_bad(of_step))


def check_weights(state: TrainState) -> None:
    """Raise NonFiniteError where a weight is NaN or infinite: the update may overflow although all metrics are finite.

    The optimiser's state is left out: infinity is a valid starting value of a running minimum.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path({"params": state.params, "ema_params": state.ema_params})
    for path, leaf in leaves:
        # Of a leaf in parts no process may hold all.
        is_in_parts = isinstance(leaf, jax.Array) and not leaf.is_fully_replicated
        # In float32, since numpy's isfinite does not know bfloat16.
        array = np.asarray(_sum_of_bad(leaf) if is_in_parts else leaf).astype(np.float32)
        if not np.isfinite(array).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise NonFiniteError(int(state.step), name, _first_bad(array))


@jax.jit
def _sum_of_bad(leaf: jax.Array) -> jax.Array:
    """0, or not finite. A minimum would not do: reduced over devices, it passes over NaN."""
    return jnp.where(jnp.isfinite(leaf), jnp.zeros_like(leaf), leaf).sum()


def _first_bad(array: np.ndarray) -> float:
    bad = array[~np.isfinite(array)].ravel()
    return float(bad[0]) if bad.size else math.nan
