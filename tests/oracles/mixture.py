"""Gaussian mixtures in one dimension, under noise: their exact denoiser (in JAX) and exact quantiles (by scipy)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import brentq
from scipy.stats import norm

from aigc_jax.processes.gaussian import Process, expand
from aigc_jax.types import Condition, DenoiseFn


class Mixture(NamedTuple):
    """A mixture of normal distributions: weights, means and standard deviations."""

    weights: tuple[float, ...] = (0.3, 0.7)
    means: tuple[float, ...] = (-1.0, 1.0)
    stds: tuple[float, ...] = (0.3, 0.5)

    def denoiser(self, process: Process) -> DenoiseFn:
        """E[x_0 | x_t] in closed form, for each element of x_t by itself."""
        # In the type of x_t: float64 where that is enabled.
        weights, means, variances = (np.asarray(value) for value in (self.weights, self.means, np.square(self.stds)))

        def denoise(x: Array, t: Array, condition: Condition) -> Array:
            alpha, sigma = (expand(value, x)[..., None] for value in (process.alpha(t), process.sigma(t)))
            w, m, v = (
                jnp.asarray(value, x.dtype).reshape((1,) * x.ndim + (-1,)) for value in (weights, means, variances)
            )
            total = jnp.square(alpha) * v + jnp.square(sigma)
            away = x[..., None] - alpha * m
            shares = jax.nn.softmax(jnp.log(w) - 0.5 * jnp.log(total) - 0.5 * jnp.square(away) / total, axis=-1)
            return jnp.sum(shares * (m + alpha * v / total * away), axis=-1)

        return denoise

    def at(self, alpha: float, sigma: float) -> Mixture:
        """The distribution of alpha x_0 + sigma epsilon."""
        stds = np.sqrt(alpha**2 * np.square(self.stds) + sigma**2)
        return Mixture(self.weights, tuple(alpha * np.asarray(self.means)), tuple(stds))

    def cdf(self, x: float) -> float:
        """P(X <= x)."""
        return float(np.dot(self.weights, norm.cdf(x, self.means, self.stds)))

    def quantiles(self, levels: np.ndarray) -> np.ndarray:
        """The inverse of the distribution function, to 1e-13."""
        reach = 12 * max(self.stds)
        low, high = min(self.means) - reach, max(self.means) + reach
        return np.array([brentq(lambda x, p=p: self.cdf(x) - p, low, high, xtol=1e-13) for p in levels])
