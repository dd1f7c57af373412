"""DPM-Solver++(2M): second order at one evaluation a step, by memory of the previous step.

Reference:
    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", 2022, algorithm 2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.samplers.solver import DenoiseAt, Interval, Solver, make_solver
from aigc_jax.types import Keys


class Memory(NamedTuple):
    """Memory of the previous step; before the first one x_0 has weight 0."""

    x_0: Array
    h: Array  # length of the step in lambda = log(alpha / sigma); infinite before the first step


def dpm_solver(process: Process) -> Solver:
    """The multistep solver of order 2 for data prediction; one evaluation a step.

    Steps of infinite length in lambda (from a time without signal, or to one without noise) and the first step are of
    order 1, which is exact for them in the limit and needs no special case in the formula.
    """

    def advance(denoise: DenoiseAt, x: Array, memory: Memory, interval: Interval, keys: Keys) -> tuple[Array, Memory]:
        t, s, _ = interval
        x_0, alpha, shrink = denoise(x, t), process.alpha(s), process.sigma(s) / process.sigma(t)
        # e^-h = (sigma_s alpha_t) / (sigma_t alpha_s), 0 for a step of infinite length.
        decay = shrink * process.alpha(t) / alpha
        h = -jnp.log(decay)
        weight = jnp.where(jnp.isfinite(h), 0.5 * h / memory.h, 0.0)
        x_0_middle = x_0 + weight * (x_0 - memory.x_0)
        return shrink * x + alpha * (1.0 - decay) * x_0_middle, Memory(x_0, h)

    return make_solver(advance, lambda x: Memory(x, jnp.full((), jnp.inf, x.dtype)))
