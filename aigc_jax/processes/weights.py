"""Weights of training times, in units of the network's own output."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.processes.prediction import Parameterization
from aigc_jax.types import UsageError

WeightFn = Callable[[Array], Array]
"""``t [B] -> weight [B]`` of the squared error of the network's output."""


def simple_weight(t: Array) -> Array:
    """Weight 1: L_simple for a network that predicts epsilon, the EDM loss for a preconditioned one.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, equation 14; for EDM, Karras et al. 2022,
        table 1, where lambda(sigma) c_out^2 = 1.

    >>> simple_weight(jnp.array([0.1, 0.9]))
    Array([1., 1.], dtype=float32)
    """
    return jnp.ones_like(t)


def min_snr_weight(process: Process, parameterization: Parameterization, gamma: float = 5.0) -> WeightFn:
    """Min-SNR weighting: the error in x_0 has the weight min(SNR, gamma).

    Args:
        process: the noise process.
        parameterization: of the network; the weight is converted to its output.
        gamma: the cap, > 0.

    Reference:
        Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023, section 3.4.

    >>> from aigc_jax.processes.gaussian import edm
    >>> from aigc_jax.processes.prediction import predict
    >>> weight = min_snr_weight(edm(), predict(edm(), "epsilon"))
    >>> weight(jnp.array([0.1, 10.0])).round(2)  # SNR 100 and 0.01: min(SNR, 5) / SNR
    Array([0.05, 1.  ], dtype=float32)
    """
    if gamma <= 0:
        raise UsageError(f"expected gamma > 0, got {gamma}: the paper uses 5")

    def weight(t: Array) -> Array:
        snr = jnp.exp(jnp.minimum(process.logsnr(t), jnp.log(gamma)))
        return snr * jnp.square(parameterization.x_0_per_output(t))

    return weight


def elbo_weight(process: Process, parameterization: Parameterization) -> WeightFn:
    """The continuous-time variational bound: the error in x_0 has the weight -1/2 d SNR / dt.

    Args:
        process: the noise process.
        parameterization: of the network; the weight is converted to its output.

    Returns:
        The weight; with times uniform over [t_min, t_max] of length 1 the loss is the diffusion loss in nats
        per dimension.

    Reference:
        Kingma et al., "Variational Diffusion Models", 2021, equation 18.

    >>> from aigc_jax.processes.gaussian import variance_exploding
    >>> from aigc_jax.processes.prediction import predict
    >>> process = variance_exploding(0.01, 100.0)
    >>> weight = elbo_weight(process, predict(process, "epsilon"))
    >>> bool(jnp.allclose(weight(jnp.array([0.2, 0.7])), jnp.log(1e4)))  # -1/2 d logsnr / dt, the same everywhere
    True
    """

    def weight(t: Array) -> Array:
        logsnr, slope = jax.jvp(process.logsnr, (t,), (jnp.ones_like(t),))
        value = -0.5 * slope * jnp.exp(logsnr) * jnp.square(parameterization.x_0_per_output(t))
        # Infinity times 0 at a time without noise or without signal, which a uniform draw may hit: no weight there.
        return jnp.where(jnp.isfinite(value), value, 0.0)

    return weight
