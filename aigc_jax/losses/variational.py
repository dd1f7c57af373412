"""Terms of variational bounds, in nats, one value per entry."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array


def gaussian_kl(mean: Array, logvar: Array, other_mean: Array, other_logvar: Array) -> Array:
    """KL(N(mean, e^logvar) || N(other_mean, e^other_logvar)), elementwise.

    Args:
        mean: of the first, any shape.
        logvar: of the first, broadcast against it.
        other_mean: of the second.
        other_logvar: of the second.

    Returns:
        Nats, >= 0, of the broadcast shape.

    >>> float(gaussian_kl(jnp.float32(1), jnp.float32(0), jnp.float32(0), jnp.float32(0)))
    0.5
    """
    ratio = jnp.exp(logvar - other_logvar)
    return 0.5 * (other_logvar - logvar + ratio - 1.0 + jnp.square(mean - other_mean) * jnp.exp(-other_logvar))


def discretized_gaussian(x: Array, mean: Array, logvar: Array, *, num_levels: int = 256) -> Array:
    """Log probability of pixels under a Gaussian binned to grey levels, elementwise.

    Args:
        x: pixels in [-1, 1] that are k / ((num_levels - 1) / 2) - 1 for whole k.
        mean: of the Gaussian, any shape.
        logvar: its log variance, broadcast against it.
        num_levels: number of grey levels; the outermost bins reach to infinity.

    Returns:
        Nats, <= 0.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, equation 13.

    >>> levels = jnp.arange(256.0) / 127.5 - 1
    >>> bool(abs(jnp.exp(discretized_gaussian(levels, jnp.float32(0.3), jnp.float32(-4))).sum() - 1) < 1e-4)
    True
    """
    half, scale = 1.0 / (num_levels - 1), jnp.exp(-0.5 * logvar)
    upper = jnp.where(x > 1 - half, jnp.inf, (x + half - mean) * scale)
    lower = jnp.where(x < -1 + half, -jnp.inf, (x - half - mean) * scale)
    # The difference of two distribution functions loses its digits in the upper tail: there by symmetry.
    is_above = lower > 0
    lower, upper = jnp.where(is_above, -upper, lower), jnp.where(is_above, -lower, upper)
    probability = jax.scipy.stats.norm.cdf(upper) - jax.scipy.stats.norm.cdf(lower)
    return jnp.log(jnp.maximum(probability, 1e-12))
