"""Solvers of the reverse-time SDE: Euler-Maruyama, and the predictor-corrector sampler built on it.

Reference:
    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", 2021, equation 6 and
    appendix G.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process, posterior
from aigc_jax.samplers import solver
from aigc_jax.samplers.solver import DenoiseAt, Interval, Solver, make_solver, pair_at, velocity
from aigc_jax.types import Keys, UsageError


def euler_maruyama(process: Process) -> Solver:
    """The Euler-Maruyama method for the reverse SDE, weak order 1; one evaluation a step.

    It reverses the process's own diffusion g^2 = -sigma^2 d logsnr / dt. A step from a time without signal, where the
    drift is infinite, is drawn from its exact distribution (only the mean of x_0 is known there); a step to a time
    without noise ends at the denoised x_0.
    """

    def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
        return _predict(process, denoise, x, interval, solver.noise(keys, "diffusion", x)), carry

    return make_solver(advance)


def _predict(process: Process, denoise: DenoiseAt, x: Array, interval: Interval, noise: Array) -> Array:
    """One Euler-Maruyama step."""
    t, s, _ = interval
    pair, alpha, sigma = pair_at(process, denoise, x, t), process.alpha(t), process.sigma(t)
    alpha_t, sigma_t = process.derivatives(t)
    # g^2 / sigma; the drift f x - g^2 score is the velocity of the ODE plus g^2 / (2 sigma) epsilon.
    diffusion = 2.0 * (sigma_t - jnp.where(alpha > 0, alpha_t / jnp.where(alpha > 0, alpha, 1.0), 0.0) * sigma)
    drift = velocity(process, pair, t) + 0.5 * diffusion * pair.epsilon
    moved = x - (t - s) * drift + jnp.sqrt((t - s) * diffusion * sigma) * noise
    q = posterior(process, s, t)
    drawn = q.scale_x_t * x + q.scale_x_0 * pair.x_0 + q.std * noise
    return jnp.where((alpha > 0) & (process.sigma(s) > 0), moved, drawn)


def predictor_corrector(process: Process, *, snr: float = 0.16, num_corrections: int = 1) -> Solver:
    """A step of the reverse SDE, then Langevin dynamics at the noise level that it reached.

    Args:
        process: the noise process.
        snr: r >= 0, the corrector's ratio of step to noise. Its stationary distribution is too wide by about r^2 in
            variance where noise prevails; the error vanishes with the noise.
        num_corrections: corrector steps, each one evaluation, after each predictor step; none at a time without noise.

    Reference:
        Song et al. 2021, algorithms 4 and 5, step size 2 (r |z| / |score|)^2 with both norms at their expected values,
        sqrt(d) and sqrt(d) / sigma: in few dimensions |score| may be 0, and a mean over the batch would tie its
        examples together.
    """
    if snr < 0 or num_corrections < 0:
        raise UsageError(f"snr and num_corrections must be >= 0, got {snr} and {num_corrections}: use 0.16 and 1")

    def correct(denoise: DenoiseAt, x: Array, s: Array, keys: Keys) -> Array:
        sigma, step = process.sigma(s), 2.0 * snr**2
        for number in range(num_corrections):
            epsilon = pair_at(process, denoise, x, s).epsilon
            noise = solver.noise(keys, f"corrector {number}", x)
            # In units of sigma^2: the score is -epsilon / sigma.
            x = x - step * sigma * epsilon + jnp.sqrt(2.0 * step) * sigma * noise
        return x

    def advance(denoise: DenoiseAt, x: Array, carry: tuple, interval: Interval, keys: Keys) -> tuple[Array, tuple]:
        x = _predict(process, denoise, x, interval, solver.noise(keys, "diffusion", x))
        is_noisy = process.sigma(interval.s) > 0
        return jax.lax.cond(is_noisy, lambda: correct(denoise, x, interval.s, keys), lambda: x), carry

    return make_solver(advance)
