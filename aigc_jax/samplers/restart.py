"""Restart sampling: an ODE solver that at some noise levels goes back by adding noise, and down again.

Going back contracts the errors made so far as an SDE does; the ODE steps in between are as accurate as ever.

Reference:
    Xu et al., "Restart Sampling for Improving Generative Processes", 2023, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.samplers import solver
from aigc_jax.samplers.grids import karras_spread
from aigc_jax.samplers.ode import heun
from aigc_jax.samplers.solver import Interval, Solver
from aigc_jax.types import Condition, DenoiseFn, Keys, UsageError


class Restart(NamedTuple):
    """Where to restart, and how often.

    Attributes:
        low: the noise level sigma / alpha from which to go back: the first grid time at or below it.
        high: the noise level to go back to.
        num_restarts: K, how many times.
        num_steps: solver steps on each way down, on a Karras grid.
    """

    low: float = 0.06
    high: float = 0.3
    num_restarts: int = 2
    num_steps: int = 3


def restart(process: Process, restarts: Sequence[Restart] = (Restart(),), *, inner: Solver | None = None) -> Solver:
    """A solver with restarts.

    Args:
        process: the noise process.
        restarts: where and how often.
        inner: the solver of the ODE; None for Heun. It is called step by step, so that a multistep method is of
            order 1 here.

    Returns:
        The solver. Each restart costs its ``num_restarts * num_steps`` steps more.

    Raises:
        UsageError: a noise interval is not one, or a count is below 1.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> keys, times = jax.random.split(jax.random.key(0), 1), jnp.linspace(1.0, 0.0, 5)
    >>> solve = restart(rectified_flow(), [Restart(low=0.5, high=2.0)])
    >>> solve(lambda x, t, condition: 0 * x + 2, jnp.ones((1, 1)), times, keys).round(5)
    Array([[2.]], dtype=float32)
    """
    for each in restarts:
        if not 0 <= each.low < each.high or min(each.num_restarts, each.num_steps) < 1:
            raise UsageError(f"expected a restart with 0 <= low < high and counts of at least 1, got {each}")
    step = inner or heun(process)

    def solve(denoise: DenoiseFn, x: Array, times: Array, keys: Keys, condition: Condition = None) -> Array:
        def repeat(x: Array, s: Array, each: Restart, keys: Keys) -> Array:
            sub_times = _times(process, each, s)
            interval = Interval(sub_times[0], s, jnp.int32(0))

            def once(x: Array, number: Array) -> tuple[Array, None]:
                own = solver.fold(keys, number)
                x = solver.renoise(process, x, interval, solver.noise(own, "restart", x))
                return step(denoise, x, sub_times, own, condition), None

            return jax.lax.scan(once, x, jnp.arange(each.num_restarts, dtype=jnp.int32))[0]

        def body(x: Array, interval: Interval) -> tuple[Array, None]:
            t, s, number = interval
            own = solver.fold(keys, number)
            x = step(denoise, x, jnp.stack([t, s]), own, condition)
            for place, each in enumerate(restarts):
                mine = solver.fold(own, place + 1)
                is_here = (process.noise_ratio(s) <= each.low) & (process.noise_ratio(t) > each.low)
                # A branch: the evaluations are made at one step of the grid alone.
                x = jax.lax.cond(is_here, lambda x, each=each, mine=mine: repeat(x, s, each, mine), lambda x: x, x)
            return x, None

        numbers = jnp.arange(times.shape[0] - 1, dtype=jnp.int32)
        return jax.lax.scan(body, x, Interval(times[:-1], times[1:], numbers))[0]

    return solve


def _times(process: Process, each: Restart, s: Array) -> Array:
    """The way down from the noise level ``high`` to the time s: [num_steps + 1]."""
    share = jnp.linspace(0.0, 1.0, each.num_steps + 1)
    high = jnp.minimum(jnp.asarray(each.high, s.dtype), process.noise_ratio(process.t_max))
    times = process.time_at(karras_spread(high, process.noise_ratio(s), share))
    return times.at[-1].set(s)
