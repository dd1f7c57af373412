"""Multistep sampling of consistency models: denoise at once, add less noise, denoise again."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.samplers import solver
from aigc_jax.samplers.solver import DenoiseAt, Interval, Solver, make_solver
from aigc_jax.types import Keys


def multistep(process: Process) -> Solver:
    """Jump to the data, add the next level's noise, jump again; one evaluation a step, no noise in the last.

    For a denoiser that maps every point of a path of the probability-flow ODE to its beginning. With an ordinary
    denoiser it is DDIM with all noise drawn anew.

    Reference:
        Song et al., "Consistency Models", 2023, algorithm 1.
    """
    sigma_min = process.sigma(process.t_min)

    def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
        t, s, _ = interval
        # The denoised x keeps the least noise: line 4 of the algorithm adds sqrt(tau^2 - sigma_min^2) only.
        sigma = process.sigma(s)
        fresh = jnp.sqrt(jnp.maximum((sigma - sigma_min) * (sigma + sigma_min), 0.0))
        return process.alpha(s) * denoise(x, t) + fresh * solver.noise(keys, "multistep", x), carry

    return make_solver(advance)
