"""Trajectory variance: variance of the predicted x_0 over the last sampling steps.

It needs no further evaluation, but the sample's own trajectory. Choose the window on labelled samples
(:func:`aigc_jax.guards.assess.choose`). Under deterministic samplers the sign may be reversed: a point between two
modes can be stable for the ODE.

Reference:
    Aithal et al., "Understanding Hallucinations in Diffusion Models through Mode Interpolation", 2024, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.samplers.solver import Interval, Observer
from aigc_jax.types import UsageError

WINDOW = (0, 9)
"""The last ten steps, the default of the paper's released code."""


WINDOWS = (WINDOW, (0, 4), (0, 19))
"""Windows that are tried; the first has the plain name, the best is found on labelled samples."""


class Welford(NamedTuple):
    """Running mean and squared deviations of the predicted x_0: no prediction is kept.

    Reference:
        Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", 1962.
    """

    num_steps: Array
    """Of the whole grid, int32."""
    num_seen: Array
    """Predictions so far, float32."""
    mean: Array
    scatter: Array


def trajectory_variance(window: tuple[int, int] = WINDOW) -> Observer:
    """An observer that gives the mean over dimensions of Var_t x_0(x_t), over some of the last steps.

    Args:
        window: the first and the last step, both counted from the data: 0 is the very last step. Of a shorter
            trajectory, all of its steps in the window.

    Returns:
        The observer, for :meth:`aigc_jax.samplers.sampling.Sampler.observe`; it gives a score [B], higher for a less
        steady sample: the variance with the number of steps for divisor, 0 where that is 1.

    Raises:
        UsageError: the window is not one of at least two steps.

    Reference:
        Aithal et al. 2024, equation 4: the variance of the predicted x_0, not of the noise.

    >>> import jax
    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> from aigc_jax.samplers.ode import euler
    >>> keys, times = jax.random.split(jax.random.key(0), 1), jnp.linspace(1.0, 0.0, 5)
    >>> denoise = lambda x, t, condition: 0 * x + t[:, None]  # 1, 0.75, 0.5, 0.25
    >>> euler(rectified_flow()).observe(trajectory_variance((0, 1)), denoise, jnp.ones((1, 1)), times, keys)[1]
    Array([0.015625], dtype=float32)
    """
    first, last = window
    if not 0 <= first < last:
        raise UsageError(f"expected a window of steps 0 <= first < last, counted from the data, got {window}: use 0, 9")

    def init(x: Array, times: Array) -> Welford:
        zeros = 0.0 * x.astype(jnp.float32)  # zeros of the examples' own devices
        return Welford(jnp.int32(times.shape[0] - 1), jnp.float32(0.0), zeros, zeros)

    def update(state: Welford, x_0: Array, interval: Interval) -> Welford:
        place = state.num_steps - 1 - interval.number
        is_inside = (place >= first) & (place <= last)
        num_seen = state.num_seen + is_inside.astype(jnp.float32)
        # Outside, where predictions from noise alone may be of any size, nothing of them is touched.
        away = jnp.where(is_inside, x_0.astype(jnp.float32) - state.mean, 0.0)
        mean = state.mean + away / jnp.maximum(num_seen, 1.0)
        scatter = state.scatter + jnp.where(is_inside, away * (x_0.astype(jnp.float32) - mean), 0.0)
        return Welford(state.num_steps, num_seen, mean, scatter)

    def compute(state: Welford) -> Float[Array, " batch"]:
        return jnp.mean(state.scatter, axis=tuple(range(1, state.scatter.ndim))) / jnp.maximum(state.num_seen, 1.0)

    return Observer(init, update, compute)


def combine_observers(observers: Mapping[str, Observer]) -> Observer:
    """Several observers as one, which gives a dictionary of their results."""

    def init(x: Array, times: Array) -> dict[str, Any]:
        return {name: observer.init(x, times) for name, observer in observers.items()}

    def update(state: dict[str, Any], x_0: Array, interval: Interval) -> dict[str, Any]:
        return {name: observer.update(state[name], x_0, interval) for name, observer in observers.items()}

    def compute(state: dict[str, Any]) -> dict[str, Any]:
        return {name: observer.compute(state[name]) for name, observer in observers.items()}

    return Observer(init, update, compute)


def trajectory_observer(num_steps: int) -> Observer | None:
    """Trajectory variance over all of :data:`WINDOWS` that fit into the steps, by name; None for fewer than two."""
    if num_steps < 2:
        return None
    windows = {"trajectory_variance": WINDOWS[0]}
    windows |= {f"trajectory_variance_{a}_{b}": (a, b) for a, b in WINDOWS[1:] if b < num_steps}
    return combine_observers({name: trajectory_variance(window) for name, window in windows.items()})
