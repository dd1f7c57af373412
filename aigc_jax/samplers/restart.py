"""Restart sampling: an ODE solver that goes back by adding noise at some noise levels, and down again.

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
    """Noise levels and number of restarts."""

    low: float = 0.06  # sigma / alpha from which to go back: at the first grid time at or below it
    high: float = 0.3  # sigma / alpha to go back to
    num_restarts: int = 2
    num_steps: int = 3  # on each way down, on a Karras grid


def restart(process: Process, restarts: Sequence[Restart] = (Restart(),)) -> Solver:
    """Heun's method with restarts, each of which costs ``num_restarts * num_steps`` more steps."""
    for each in restarts:
        if not 0 <= each.low < each.high or min(each.num_restarts, each.num_steps) < 1:
            raise UsageError(f"expected a restart of 0 <= low < high and counts >= 1, got {each}: use the defaults")
    step = heun(process)

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
