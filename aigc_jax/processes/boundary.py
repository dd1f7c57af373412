"""The parameterization of consistency models: a denoiser that is the identity at the least noise."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process, expand
from aigc_jax.processes.prediction import Pair, Parameterization
from aigc_jax.types import UsageError


def with_boundary(process: Process, sigma_data: float = 0.5) -> Parameterization:
    """EDM preconditioning shifted by sigma_min, so that f(x, sigma_min) = x for every network.

    Args:
        process: a process without scale, :func:`aigc_jax.processes.gaussian.edm`; its t_min is sigma_min.
        sigma_data: standard deviation of the data, > 0.

    Returns:
        The parameterization: c_skip = sigma_data^2 / ((sigma - sigma_min)^2 + sigma_data^2),
        c_out = sigma_data (sigma - sigma_min) / sqrt(sigma^2 + sigma_data^2).

    Reference:
        Song et al., "Consistency Models", 2023, appendix C.

    >>> from aigc_jax.processes.gaussian import edm
    >>> least = jnp.array([0.002])
    >>> float(with_boundary(edm()).to_x_0(jnp.array([[9.0]]), jnp.array([[0.5]]), least)[0, 0])
    0.5
    """
    if sigma_data <= 0:
        raise UsageError(f"expected sigma_data > 0, got {sigma_data}: the standard deviation of images is about 0.5")
    if process.alpha(process.t_max) != 1 or process.sigma(process.t_min) != process.t_min:
        raise UsageError("a consistency model takes a process whose time is its noise level: use edm()")

    def coefficients(t: Array) -> tuple[Array, Array, Array]:
        shifted, total = t - process.t_min, jnp.sqrt(jnp.square(t) + sigma_data**2)
        c_skip = sigma_data**2 / (jnp.square(shifted) + sigma_data**2)
        return c_skip, sigma_data * shifted / total, 1.0 / total

    def to_x_0(output: Array, x_t: Array, t: Array) -> Array:
        c_skip, c_out, _ = (expand(value, x_t) for value in coefficients(t))
        return c_skip * x_t + c_out * output

    def target(pair: Pair, t: Array) -> Array:
        c_skip, c_out, _ = (expand(value, pair.x_0) for value in coefficients(t))
        x_t = process.corrupt(pair.x_0, pair.epsilon, t)
        return (pair.x_0 - c_skip * x_t) / jnp.maximum(c_out, 1e-6)

    return Parameterization(
        scale_input=lambda x_t, t: expand(coefficients(t)[2], x_t) * x_t,
        noise_label=lambda t: jnp.log(jnp.maximum(t, process.t_min)) / 4.0,
        to_x_0=to_x_0,
        target=target,
        x_0_per_output=lambda t: coefficients(t)[1],
    )
