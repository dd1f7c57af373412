"""The mathematics of mixtures of Gaussians: draws, densities, distances, and the perfect denoiser.

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
    """A mixture of K Gaussians in D dimensions.

    Attributes:
        log_weights: log probabilities of the modes [K].
        means: mu, their centres [K, D].
        axes: U, an orthogonal matrix for each, its principal directions in columns [K, D, D].
        scales: s, the standard deviation along each of these directions, > 0 [K, D].
    """

    log_weights: Float[Array, " mode"]
    means: Float[Array, "mode channel"]
    axes: Float[Array, "mode channel channel"]
    scales: Float[Array, "mode channel"]


def gaussians(
    means: Float[np.ndarray, "mode channel"],
    scales: Float[np.ndarray, "mode channel"],
    axes: Float[np.ndarray, "mode channel channel"],
    weights: Sequence[float],
) -> Gaussians:
    """A mixture from numpy's float64.

    Args:
        means: mu.
        scales: s.
        axes: U.
        weights: probabilities, >= 0, sum 1.

    Returns:
        The mixture in float32.

    >>> ones = np.ones((1, 1))
    >>> gaussians(ones, ones, ones[None], [1.0]).means
    Array([[1.]], dtype=float32)
    """
    return Gaussians(log_of(weights), *(jnp.asarray(values, jnp.float32) for values in (means, axes, scales)))


def draw(mixture: Gaussians, keys: Keys, condition: Condition) -> Float[Array, "num channel"]:
    """One example per key.

    Args:
        mixture: where from.
        keys: one key per example [N].
        condition: the mode of each, or None to draw the modes as well.

    Returns:
        Examples [N, D]; example i is a function of key i and condition i.

    >>> ones = np.ones((1, 1))
    >>> draw(gaussians(ones, ones, ones[None], [1.0]), jax.random.split(jax.random.key(0), 3), None).shape
    (3, 1)
    """
    named = split_by_name(keys, "mode", "noise")
    if condition is None:
        condition = draw_modes(named["mode"], mixture.log_weights)
    noise = mixture.scales[condition] * normal(named["noise"], mixture.means.shape[1:])
    return mixture.means[condition] + _turn("nde,ne->nd", mixture.axes[condition], noise)


def distances(mixture: Gaussians, x: Float[Array, "num channel"]) -> Float[Array, "num mode"]:
    """How many standard deviations each example is away from each mode (the Mahalanobis distance).

    >>> ones = np.ones((1, 1))
    >>> distances(gaussians(ones, 0.5 * ones, ones[None], [1.0]), jnp.zeros((1, 1)))
    Array([[2.]], dtype=float32)
    """
    z = _turn("kde,nkd->nke", mixture.axes, x[:, None] - mixture.means[None])
    return jnp.linalg.norm(z / mixture.scales[None], axis=-1)


def log_density(mixture: Gaussians, x: Float[Array, "num channel"]) -> Float[Array, " num"]:
    """Log densities in nats.

    >>> ones = np.ones((1, 1))
    >>> round(float(log_density(gaussians(ones, ones, ones[None], [1.0]), jnp.ones((1, 1)))[0]), 4)
    -0.9189
    """
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
    """E[x_0 | x_t] for x_t = alpha x_0 + sigma epsilon.

    Given mode k, x_0 and x_t are jointly Gaussian, and in the mode's own coordinates z = U_k^T (x_t - alpha mu_k)

        E[x_0 | x_t, k] = mu_k + U_k (g_k z),    g_k = alpha s_k^2 / v_k,    v_k = alpha^2 s_k^2 + sigma^2;

    the modes count in proportion to w_k N(z; 0, v_k).

    Args:
        mixture: the law of x_0.
        x_t: noisy examples.
        alpha: of each, >= 0.
        sigma: of each, >= 0.
        condition: the mode of each; None, or K, where it is not known.

    Returns:
        The means: x_t / alpha for sigma = 0, the mixture's own mean for alpha = 0.

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
