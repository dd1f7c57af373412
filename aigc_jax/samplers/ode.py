"""Solvers of the probability-flow ODE: Euler, midpoint, and Heun with the stochastic churn of EDM.

They integrate dx / dt = alpha'(t) x_0 + sigma'(t) epsilon in t. The last step, to a time without noise, is taken
along the straight path from epsilon to x_0: the slope of sigma may be infinite there.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.processes.prediction import Pair
from aigc_jax.samplers import solver
from aigc_jax.samplers.solver import Advance, DenoiseAt, Interval, Solver, StepSolver, make_solver, pair_at, velocity
from aigc_jax.types import Condition, Keys, UsageError


def euler(process: Process) -> Solver:
    """Euler's method, order 1, one evaluation a step. With ``rectified_flow`` or ``edm`` it is DDIM."""

    def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
        return _euler_step(process, pair_at(process, denoise, x, interval.t), x, interval), carry

    return make_solver(advance)


def midpoint(process: Process) -> Solver:
    """The explicit midpoint method, order 2, two evaluations a step."""

    def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
        t, s, _ = interval
        pair, is_last = pair_at(process, denoise, x, t), process.sigma(s) == 0
        middle = jnp.where(is_last, _straight_middle(process, t), 0.5 * (s + t))
        straight = process.alpha(middle) * pair.x_0 + process.sigma(middle) * pair.epsilon
        x_middle = jnp.where(is_last, straight, x + (middle - t) * velocity(process, pair, t))
        pair = pair_at(process, denoise, x_middle, middle)
        straight = _straight_to_data(process, pair, x, t)
        return jnp.where(is_last, straight, x + (s - t) * velocity(process, pair, middle)), carry

    return make_solver(advance)


def heun(
    process: Process,
    *,
    churn: float = 0.0,
    churn_min: float = 0.0,
    churn_max: float = math.inf,
    churn_noise: float = 1.0,
    num_steps: int | None = None,
) -> Solver:
    """Heun's method with the churn of EDM, order 2 without churn; two evaluations a step, one in a step to no noise.

    Churn never goes past ``process.t_max``, beyond which no denoiser was trained.

    Args:
        process: the noise process.
        churn: S_churn >= 0, how much noise all steps together add and remove; 0 is the plain ODE.
        churn_min: S_tmin, the smallest noise level sigma / alpha at which noise is added.
        churn_max: S_tmax, the largest.
        churn_noise: S_noise, standard deviation of the added noise, about 1.
        num_steps: N, over which the churn is spread; None for the length of the grid of a call, which is wrong where
            another solver calls this one step by step.

    Reference:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, algorithm 2; in t
        for a general process, algorithm 1.
    """
    if min(churn, churn_min, churn_max, churn_noise) < 0:
        given = churn, churn_min, churn_max, churn_noise
        raise UsageError(f"churn settings must not be negative, got {given}: 0 is no churn")

    def solve(denoise: DenoiseAt, x: Array, interval: Interval) -> Array:
        t, s, _ = interval
        slope, step = velocity(process, pair := pair_at(process, denoise, x, t), t), s - t
        predicted = _euler_step(process, pair, x, interval)

        def correct() -> Array:
            end = velocity(process, pair_at(process, denoise, predicted, s), s)
            return x + 0.5 * step * (slope + end)

        # A branch, not a selection: the second evaluation is not made where it is not used.
        return jax.lax.cond(process.sigma(s) > 0, correct, lambda: predicted)

    def bind(times: Array, condition: Condition) -> Advance:
        gain = min(churn / (num_steps or times.shape[0] - 1), math.sqrt(2.0) - 1.0)

        def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
            if gain > 0:
                later = _later(process, interval.t, gain, churn_min, churn_max)
                draw = churn_noise * solver.noise(keys, "churn", x)
                x = solver.renoise(process, x, Interval(later, interval.t, interval.number), draw)
                interval = interval._replace(t=later)
            return solve(denoise, x, interval), carry

        return advance

    return StepSolver(bind)


def _later(process: Process, t: Array, gain: float, low: float, high: float) -> Array:
    """The time with a noise level larger by ``gain``, t itself where that is not in ``low`` ... ``high``."""
    ratio = process.noise_ratio(t)
    is_churned = (ratio >= low) & (ratio <= high) & jnp.isfinite(ratio)
    later = jnp.clip(process.time_at(jnp.where(is_churned, ratio, 1.0) * (1.0 + gain)), t, process.t_max)
    return jnp.where(is_churned, later, t)


def _euler_step(process: Process, pair: Pair, x: Array, interval: Interval) -> Array:
    t, s, _ = interval
    moved = x + (s - t) * velocity(process, pair, t)
    return jnp.where(process.sigma(s) == 0, process.alpha(s) * pair.x_0, moved)


# The straight path: y = x / (alpha + sigma) = (1 - w) x_0 + w epsilon with w = sigma / (alpha + sigma) is rectified
# flow, whatever the process; its slope dy / dw = epsilon - x_0 is regular at both ends.


def _straight_middle(process: Process, t: Array) -> Array:
    """The time half way, on the straight path, between t and the data."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    # w / 2 as a ratio of noise to signal, (w / 2) / (1 - w / 2).
    return process.time_at(sigma / (2.0 * alpha + sigma))


def _straight_to_data(process: Process, pair: Pair, x: Array, t: Array) -> Array:
    """x_0 reached from a state at t along the slope of a pair."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    return (x - sigma * (pair.epsilon - pair.x_0)) / (alpha + sigma)
