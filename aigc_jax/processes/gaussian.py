"""Gaussian noise processes, each a pair of functions: x_t = alpha(t) x_0 + sigma(t) epsilon.

Time runs from ``t_min`` (the data) to ``t_max`` (the noise). Everything else follows from alpha and sigma:
the signal-to-noise ratio, the posterior, the velocity of the probability-flow ODE.

Reference:
    Kingma et al., "Variational Diffusion Models", 2021, section 3; Song et al., "Score-Based Generative
    Modeling through Stochastic Differential Equations", 2021, section 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ScheduleFn = Callable[[Any], Array]
"""``t -> value``, elementwise: float32 of any shape."""


class Process(NamedTuple):
    """A Gaussian noise process."""

    alpha: ScheduleFn  # scale of the signal, 1 at the data end, never negative
    sigma: ScheduleFn  # standard deviation of the noise, increasing in t
    time_at: ScheduleFn  # the t at which sigma / alpha has a value, the inverse of noise_ratio
    t_min: float = 0.0  # data end, where sampling stops; sigma may be 0
    t_max: float = 1.0  # noise end, where sampling begins; alpha may be 0

    def noise_ratio(self, t: Any) -> Array:
        """The noise level of Karras et al., sigma / alpha; infinite where alpha is 0."""
        alpha = self.alpha(t)
        # Both branches are computed: the divisor must not be 0 in either, or gradients become NaN.
        return jnp.where(alpha > 0, self.sigma(t) / jnp.where(alpha > 0, alpha, 1.0), jnp.inf)

    def logsnr(self, t: Any) -> Array:
        """The log signal-to-noise ratio log(alpha^2 / sigma^2); infinite at an end without noise or without signal."""
        return -2.0 * jnp.log(self.noise_ratio(t))

    def derivatives(self, t: Array) -> tuple[Array, Array]:
        """The slopes d alpha / dt and d sigma / dt, elementwise."""
        ones = jnp.ones_like(t)
        return jax.jvp(self.alpha, (t,), (ones,))[1], jax.jvp(self.sigma, (t,), (ones,))[1]

    def corrupt(self, x_0: Float[Array, "batch *shape"], epsilon: Array, t: Float[Array, " batch"]) -> Array:
        """x_t = alpha x_0 + sigma epsilon, at a time for each example [B]."""
        return expand(self.alpha(t), x_0) * x_0 + expand(self.sigma(t), x_0) * epsilon


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) = N(scale_x_t * x_t + scale_x_0 * x_0, std^2), with s < t."""

    scale_x_t: Array
    scale_x_0: Array
    std: Array  # square root of "beta tilde"
    forward_std: Array  # of q(x_t | x_s), square root of "beta": the other common choice


def posterior(process: Process, s: Any, t: Any) -> Posterior:
    """The Gaussian q(x_s | x_t, x_0) of ancestral sampling, s < t; alpha(t) may be 0.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, equations 6 and 7; in continuous time
        Kingma et al. 2021, appendix A, equations 25 to 28.
    """
    alpha_s, sigma_s, alpha_t, sigma_t = process.alpha(s), process.sigma(s), process.alpha(t), process.sigma(t)
    signal = alpha_t / alpha_s
    # (sigma_{t|s} / sigma_t)^2 = 1 - SNR(t) / SNR(s), as a product; rounding must not make it negative.
    kept = signal * sigma_s / sigma_t
    fresh = jnp.maximum((1.0 - kept) * (1.0 + kept), 0.0)
    return Posterior(
        scale_x_t=signal * jnp.square(sigma_s / sigma_t),
        scale_x_0=alpha_s * fresh,
        std=sigma_s * jnp.sqrt(fresh),
        forward_std=sigma_t * jnp.sqrt(fresh),
    )


def expand(value: Array, like: Array) -> Array:
    """One value per example, shaped to multiply the examples: [B] -> [B, 1, ...]; a scalar stays as it is."""
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value


def rectified_flow() -> Process:
    """The straight path of flow matching: alpha = 1 - t, sigma = t. No signal at all at t = 1.

    Reference:
        Lipman et al., "Flow Matching for Generative Modeling", 2023, equation 22 with sigma_min = 0 (the optimal
        transport path, time reversed: the data lie at t = 0 here); Liu et al., "Flow Straight and Fast", 2023.

    >>> float(rectified_flow().noise_ratio(0.5))
    1.0
    """

    def time_at(noise_ratio: Any) -> Array:
        noise_ratio = _float(noise_ratio)
        # Not s / (1 + s), which is NaN for infinite s.
        return 1.0 - 1.0 / (1.0 + noise_ratio)

    return Process(lambda t: 1.0 - _float(t), _float, time_at)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0) -> Process:
    """Variance exploding in sigma itself: alpha = 1, sigma(t) = t.

    Args:
        sigma_min: the smallest noise level on the grids of :mod:`aigc_jax.samplers.grids`, > 0.
        sigma_max: the largest.

    Reference:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, table 1.

    >>> float(edm().sigma(80.0))
    80.0
    """
    return Process(lambda t: jnp.ones_like(_float(t)), _float, _float, sigma_min, sigma_max)


def variance_exploding(sigma_min: float = 0.01, sigma_max: float = 50.0) -> Process:
    """Variance exploding on a logarithmic clock: alpha = 1, sigma(t) = sigma_min (sigma_max / sigma_min)^t.

    Args:
        sigma_min: noise at t = 0, > 0.
        sigma_max: noise at t = 1: about the largest distance between two examples.

    Reference:
        Song et al. 2021, appendix C, equation 30.

    >>> round(float(variance_exploding(0.01, 50.0).sigma(0.0)), 6)
    0.01
    """
    span = math.log(sigma_max / sigma_min)

    def time_at(noise_ratio: Any) -> Array:
        return jnp.log(_float(noise_ratio) / sigma_min) / span

    return Process(lambda t: jnp.ones_like(_float(t)), lambda t: sigma_min * jnp.exp(_float(t) * span), time_at)


def variance_preserving(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """Constant variance, alpha^2 + sigma^2 = 1, with linear beta(t): DDPM's 1,000 steps in continuous time.

    Args:
        beta_min: beta at t = 0; 1,000 times the paper's beta_1 = 1e-4.
        beta_max: beta at t = 1.

    Reference:
        Ho et al. 2020, section 4; Song et al. 2021, appendix C, equation 33.

    >>> process = variance_preserving()
    >>> bool(abs(process.alpha(0.3) ** 2 + process.sigma(0.3) ** 2 - 1) < 1e-6)
    True
    """
    log_alpha, time_of = _linear_beta(beta_min, beta_max)

    def time_at(noise_ratio: Any) -> Array:
        return time_of(-0.5 * jnp.log1p(jnp.square(_float(noise_ratio))))

    # expm1, not 1 - alpha^2: near t = 0 the difference has no digits left.
    return Process(lambda t: jnp.exp(log_alpha(t)), lambda t: _sqrt(-jnp.expm1(2.0 * log_alpha(t))), time_at)


def sub_variance_preserving(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """The signal of :func:`variance_preserving` with less noise: sigma = 1 - alpha^2.

    Args:
        beta_min: beta at t = 0.
        beta_max: beta at t = 1.

    Reference:
        Song et al. 2021, equation 29.

    >>> process = sub_variance_preserving()
    >>> bool(process.sigma(0.3) < variance_preserving().sigma(0.3))
    True
    """
    log_alpha, time_of = _linear_beta(beta_min, beta_max)

    def time_at(noise_ratio: Any) -> Array:
        # alpha solves alpha^2 + s alpha - 1 = 0; its logarithm, without cancellation for any s.
        return time_of(-jnp.arcsinh(0.5 * _float(noise_ratio)))

    return Process(lambda t: jnp.exp(log_alpha(t)), lambda t: -jnp.expm1(2.0 * log_alpha(t)), time_at)


def cosine(offset: float = 0.008, t_max: float = 0.9999) -> Process:
    """Constant variance, alpha^2 + sigma^2 = 1, with alpha a quarter of a cosine.

    Args:
        offset: keeps the noise from being too small near the data.
        t_max: start of sampling; at 1 there is no signal, as in ``rectified_flow``.

    Reference:
        Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, equation 17.

    >>> float(cosine().alpha(0.0))
    1.0
    """
    start = offset / (1.0 + offset) * math.pi / 2.0
    sin_start, cos_start = math.sin(start), math.cos(start)

    def angle(t: Any) -> Array:
        return start + (math.pi / 2.0 - start) * _float(t)

    def alpha(t: Any) -> Array:
        # The cosine by the angle that is left: near t = 1 the cosine itself has few digits, and either sign.
        return jnp.clip(jnp.sin((math.pi / 2.0 - start) * (1.0 - _float(t))) / cos_start, 0.0, 1.0)

    def sigma(t: Any) -> Array:
        # 1 - cos^2(a) / cos^2(start) as a product, exact near t = 0; the clock's own difference has no rounding.
        return _sqrt(jnp.sin((math.pi / 2.0 - start) * _float(t)) * jnp.sin(angle(t) + start)) / cos_start

    def time_at(noise_ratio: Any) -> Array:
        # The angle beyond the start by its sine and cosine, each without a difference of near numbers.
        noise_ratio = _float(noise_ratio)
        noise = 1.0 / (1.0 + jnp.square(1.0 / noise_ratio))  # r^2 / (1 + r^2), for infinite r and for 0 too
        signal = 1.0 / (1.0 + jnp.square(noise_ratio))
        sine = jnp.sqrt(signal * sin_start**2 + noise)
        cosine = jnp.sqrt(signal) * cos_start
        sine_of_sum = jnp.maximum(sine * cos_start + cosine * sin_start, 1e-30)  # 0 without noise and without offset
        beyond = jnp.arctan2(noise * cos_start**2 / sine_of_sum, cosine * cos_start + sine * sin_start)
        return beyond / (math.pi / 2.0 - start)

    return Process(alpha, sigma, time_at, t_max=t_max)


def _linear_beta(beta_min: float, beta_max: float) -> tuple[ScheduleFn, ScheduleFn]:
    """The function log alpha(t) = -1/2 times the integral of beta, and its inverse."""

    def log_alpha(t: Any) -> Array:
        t = _float(t)
        return -0.25 * t * (2.0 * beta_min + t * (beta_max - beta_min))

    def time_of(log_alpha: Array) -> Array:
        # The root of the quadratic in its form without cancellation.
        return -4.0 * log_alpha / (beta_min + jnp.sqrt(beta_min**2 - 4.0 * (beta_max - beta_min) * log_alpha))

    return log_alpha, time_of


def _sqrt(value: Array) -> Array:
    """A square root whose derivative at 0 is 0, not infinite: sigma'(0) multiplies terms that vanish there."""
    is_positive = value > 0
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, value, 1.0)), 0.0)


def _float(value: Any) -> Array:
    """float32, or float64 where that is enabled and given: schedules are never computed in less."""
    value = jnp.asarray(value)
    return value if value.dtype == jnp.float64 else value.astype(jnp.float32)
