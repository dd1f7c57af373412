"""Noise processes from a table: the betas of a discrete chain, as in published code.

At the times t = i / T of the chain alpha and sigma are the table's own, to the rounding of one float32; between them
beta is constant. The continuous processes of :mod:`aigc_jax.processes.gaussian` are the limit of many steps, which a
chain with beta up to 0.2 is far from.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.types import UsageError


def discrete_linear(num_steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> Process:
    """The chain of DDPM: alpha^2 is the product of all 1 - beta up to step i, with sigma^2 = 1 - alpha^2.

    The table holds log alpha, summed in float64: alpha^2 itself may be far below the least float32 (1e-47 for beta from
    0.001 to 0.2), and 1 - alpha^2 has few digits left in the first steps.

    Args:
        num_steps: T >= 1, the length of the chain; step i is at t = i / T, the data at t = 0.
        beta_min: the variance that the first step adds, in (0, 1).
        beta_max: that of the last step, in (0, 1); those between are evenly spaced.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, equation 4 and section 4.

    >>> process = discrete_linear()
    >>> [round(float(process.sigma(step / 1000)) ** 2, 6) for step in (0, 1, 2)]
    [0.0, 0.0001, 0.00022]
    """
    if num_steps < 1 or not 0 < beta_min < 1 or not 0 < beta_max < 1:
        raise UsageError(
            f"expected num_steps >= 1 and betas in (0, 1), got {num_steps}, {beta_min} and {beta_max}: "
            "1000, 1e-4 and 0.02 are usual"
        )
    betas = np.linspace(beta_min, beta_max, num_steps, dtype=np.float64)
    exact = np.concatenate([[0.0], 0.5 * np.cumsum(np.log1p(-betas))])
    table = jnp.asarray(exact, jnp.float32)

    def log_alpha(t: Any) -> Array:
        # float32 suffices: the nodes are met to a few 1e-5 of a step.
        place = jnp.clip(jnp.asarray(t).astype(jnp.float32), 0.0, 1.0) * num_steps
        step = jnp.clip(jnp.floor(place), 0, num_steps - 1).astype(jnp.int32)
        return table[step] + (place - step.astype(jnp.float32)) * (table[step + 1] - table[step])

    def sigma(t: Any) -> Array:
        # expm1, not 1 - alpha^2; at t = 0 the square root has no slope.
        square = -jnp.expm1(2.0 * log_alpha(t))
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)

    def time_at(noise_ratio: Any) -> Array:
        # log(1 + r^2) without the square of a large r.
        ratio = jnp.asarray(noise_ratio).astype(jnp.float32)
        larger, smaller = jnp.maximum(ratio, 1.0), jnp.minimum(ratio, 1.0)
        loss = jnp.log(larger) + 0.5 * jnp.log1p(jnp.square(jnp.where(ratio > 1, 1.0 / larger, smaller)))
        return jnp.interp(loss, -table, jnp.linspace(0.0, 1.0, num_steps + 1))

    return Process(lambda t: jnp.exp(log_alpha(t)), sigma, time_at)
