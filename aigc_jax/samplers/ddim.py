"""DDIM and ancestral DDPM: sampling from a Gaussian over x_s given x_t and the denoised x_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process, posterior
from aigc_jax.samplers import solver
from aigc_jax.samplers.solver import Advance, DenoiseAt, Interval, Solver, StepSolver, make_solver, pair_at
from aigc_jax.types import Condition, Keys, UsageError

VarianceFn = Callable[[Array, Array, Condition], Array]
"""``(x_t [B, ...], t [B], condition) -> v`` [B, ...] in [0, 1]: log variance = v log beta + (1 - v) log beta tilde."""


def ddim(process: Process, *, eta: float = 0.0) -> Solver:
    """DDIM: deterministic for eta = 0 (order 1), the ancestral sampler for eta = 1; one evaluation a step.

    ``eta`` in [0, 1] is the share of the posterior's standard deviation that is drawn anew.

    Reference:
        Song et al., "Denoising Diffusion Implicit Models", 2021, equations 12 and 16.
    """
    if not 0 <= eta <= 1:
        raise UsageError(f"eta must lie in [0, 1], got {eta}: 0 is deterministic DDIM, 1 the ancestral sampler")

    def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
        t, s, _ = interval
        pair, sigma = pair_at(process, denoise, x, t), process.sigma(s)
        if not eta:
            return process.alpha(s) * pair.x_0 + sigma * pair.epsilon, carry
        # The posterior's variance as a share of sigma_s^2, which may be 0.
        fresh = jnp.square(eta * posterior(process, s, t).forward_std / process.sigma(t))
        kept = jnp.sqrt(jnp.maximum(1.0 - fresh, 0.0)) * pair.epsilon
        epsilon = kept + jnp.sqrt(fresh) * solver.noise(keys, "ddim", x)
        return process.alpha(s) * pair.x_0 + sigma * epsilon, carry

    return make_solver(advance)


def ancestral(process: Process, *, variance: Literal["posterior", "forward"] | VarianceFn = "posterior") -> Solver:
    """Ancestral sampling of DDPM: x_s from q(x_s | x_t, x_0) at the denoised x_0; one evaluation a step.

    ``variance`` is that of the posterior (beta tilde), of the forward step (beta), or a function that interpolates
    between the two logarithms for each element: a learned variance. A step to a time without noise draws none.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 2 and section 3.2; for the learned
        variance Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, equation 15.
    """
    if not callable(variance) and variance not in ("posterior", "forward"):
        raise UsageError(f"expected the variance 'posterior' or 'forward', or a function; got {variance!r}")

    def bind(times: Array, condition: Condition) -> Advance:
        def share(x: Array, t: Array) -> Array | float:
            if callable(variance):
                return variance(x, jnp.broadcast_to(t, x.shape[:1]), condition).astype(x.dtype)
            return 1.0 if variance == "forward" else 0.0

        def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
            t, s, _ = interval
            q, x_0, v = posterior(process, s, t), denoise(x, t), share(x, t)
            std = jnp.where(process.sigma(s) == 0, 0.0, q.forward_std**v * q.std ** (1.0 - v))
            return q.scale_x_t * x + q.scale_x_0 * x_0 + std * solver.noise(keys, "ancestral", x), carry

        return advance

    return StepSolver(bind)
