"""Terms of variational bounds, in nats, one value per entry."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array


def gaussian_kl(mean: Array, logvar: Array, other_mean: Array, other_logvar: Array) -> Array:
    """KL(N(mean, e^logvar) || N(other_mean, e^other_logvar)) in nats, elementwise."""
    ratio = jnp.exp(logvar - other_logvar)
    return 0.5 * (other_logvar - logvar + ratio - 1.0 + jnp.square(mean - other_mean) * jnp.exp(-other_logvar))


def discretized_gaussian(x: Array, mean: Array, logvar: Array, *, num_levels: int = 256) -> Array:
    """Log probability of pixels in [-1, 1] under a Gaussian binned to grey levels, elementwise.

    Exact in any tail, without the floor (of 1e-12, or 27.6 nats) of published code, so that it has a slope where a
    model is worst. The outermost bins reach to infinity.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, equation 13.

    >>> levels = jnp.arange(256.0) / 127.5 - 1
    >>> bool(abs(jnp.exp(discretized_gaussian(levels, jnp.float32(0.3), jnp.float32(-4))).sum() - 1) < 1e-4)
    True
    """
    scale = jnp.exp(-0.5 * logvar)
    half, centre = scale / (num_levels - 1), (x - mean) * scale
    # By symmetry the bin lies below the mean, where a distribution function keeps its digits; the outermost bins are
    # one value of it.
    is_lowest, is_highest = x < -1 + 1 / (num_levels - 1), x > 1 - 1 / (num_levels - 1)
    centre = jnp.where(is_highest, -centre, jnp.where(is_lowest, centre, -jnp.abs(centre)))
    (upper_square, upper), (lower_square, lower) = _log_cdf(centre + half), _log_cdf(centre - half)
    # log(P(upper) - P(lower)) = log P(upper) + log(1 - e^-d), d = log P(upper) - log P(lower): the squares first.
    difference = jnp.maximum(lower_square - upper_square + upper - lower, 1e-30)
    inside = jnp.where(is_lowest | is_highest, 0.0, jnp.log(-jnp.expm1(-difference)))
    return upper - upper_square + inside


def _log_cdf(x: Array) -> tuple[Array, Array]:
    """The standard normal's log distribution function as b - a: a = min(x, 0)^2 / 2, which outgrows b's digits.

    Reference:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, equation 26.2.12, for the tail.
    """
    square = 0.5 * jnp.square(jnp.minimum(x, 0.0))
    tail, near = jnp.minimum(x, -10.0), jnp.maximum(x, -10.0)
    inverse = 1.0 / jnp.square(tail)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse))
    far = jnp.log(series) - jnp.log(-tail) - 0.5 * math.log(2 * math.pi)
    close = jax.scipy.special.log_ndtr(near) + 0.5 * jnp.square(jnp.minimum(near, 0.0))
    return square, jnp.where(x < -10.0, far, close)
