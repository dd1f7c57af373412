"""Mathematics of mixtures of Gaussians: samples, densities, distances, and the exact denoiser.

Mode k is N(mu_k, U_k diag(s_k^2) U_k^T). All functions work in the coordinates z = U_k^T (x - mu_k) of each mode, in
which its covariance is diagonal: no matrix is ever inverted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.rng import normal, split_by_name
from aigc_jax.types import Condition, Keys
from aigc_jax.worlds.modes import draw_modes, log_of, posterior


class Gaussians(NamedTuple):
    """A mixture of K Gaussians in D dimensions."""

    log_weights: Float[Array, " mode"]
    means: Float[Array, "mode channel"]  # mu
    axes: Float[Array, "mode channel channel"]  # U, principal directions in columns
    scales: Float[Array, "mode channel"]  # s, standard deviations along them, > 0


def gaussians(
    means: Float[np.ndarray, "mode channel"],
    scales: Float[np.ndarray, "mode channel"],
    axes: Float[np.ndarray, "mode channel channel"],
    weights: Sequence[float],
) -> Gaussians:
    """The mixture in float32, from numpy's float64."""
    return Gaussians(log_of(weights), *(jnp.asarray(values, jnp.float32) for values in (means, axes, scales)))


def draw(mixture: Gaussians, keys: Keys, condition: Condition) -> Float[Array, "num channel"]:
    """One example per key, of the modes ``condition`` (None draws them too); example i depends on key i alone."""
    named = split_by_name(keys, "mode", "noise")
    if condition is None:
        condition = draw_modes(named["mode"], mixture.log_weights)
    noise = mixture.scales[condition] * normal(named["noise"], mixture.means.shape[1:])
    return mixture.means[condition] + _turn("nde,ne->nd", mixture.axes[condition], noise)


def distances(mixture: Gaussians, x: Float[Array, "num channel"]) -> Float[Array, "num mode"]:
    """Mahalanobis distance of each example from each mode."""
    z = _turn("kde,nkd->nke", mixture.axes, x[:, None] - mixture.means[None])
    return jnp.linalg.norm(z / mixture.scales[None], axis=-1)


def log_density(mixture: Gaussians, x: Float[Array, "num channel"]) -> Float[Array, " num"]:
    """Log densities in nats."""
    num_channels = mixture.means.shape[1]
    normalizers = jnp.sum(jnp.log(mixture.scales), axis=1) + 0.5 * num_channels * math.log(2.0 * math.pi)
    exponents = -0.5 * jnp.square(distances(mixture, x))
    return jax.nn.logsumexp((mixture.log_weights - normalizers)[None] + exponents, axis=1)


def posterior_mean(
    mixture: Gaussians,
    x_t: Float[Array, "num channel"],
    alpha: Float[Array, " num"],
    sigma: Float[Array, " num"],
    condition: Condition,
) -> Float[Array, "num channel"]:
    """E[x_0 | x_t] for x_t = alpha x_0 + sigma epsilon; condition K means an unknown mode.

    Given mode k, x_0 and x_t are jointly Gaussian, and in the mode's own coordinates z = U_k^T (x_t - alpha mu_k)

        E[x_0 | x_t, k] = mu_k + U_k (g_k z),    g_k = alpha s_k^2 / v_k,    v_k = alpha^2 s_k^2 + sigma^2;

    the modes are weighted by w_k N(z; 0, v_k). It is x_t / alpha for sigma = 0, the mixture's own mean for alpha = 0.

    >>> ones = np.ones((1, 1))
    >>> mixture = gaussians(ones, ones, ones[None], [1.0])
    >>> posterior_mean(mixture, jnp.array([[3.0]]), jnp.ones(1), jnp.ones(1), None)
    Array([[2.]], dtype=float32)
    """
    # The answer depends on x_t : alpha : sigma alone. With the larger of the two 1, no square below vanishes.
    larger = jnp.maximum(alpha, sigma)
    larger = jnp.where(larger > 0, larger, 1.0)
    x_t, alpha, sigma = x_t / larger[:, None], (alpha / larger)[:, None, None], (sigma / larger)[:, None, None]
    squares = jnp.square(mixture.scales)[None]
    z = _turn("kde,nkd->nke", mixture.axes, x_t[:, None] - alpha * mixture.means[None])
    variances = jnp.square(alpha) * squares + jnp.square(sigma)
    # Neither data nor noise: x_t says nothing.
    variances = jnp.where(variances > 0, variances, 1.0)
    log_likelihoods = -0.5 * jnp.sum(jnp.square(z) / variances + jnp.log(variances), axis=-1)
    shares = posterior(log_likelihoods, mixture.log_weights, condition)
    means = mixture.means[None] + _turn("kde,nke->nkd", mixture.axes, alpha * squares / variances * z)
    return jnp.sum(shares[..., None] * means, axis=1)


def _turn(subscripts: str, axes: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.einsum(subscripts, axes, z, precision="highest")
