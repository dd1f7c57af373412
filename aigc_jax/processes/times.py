"""Distributions of training times of a denoiser: one random time per example."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process
from aigc_jax.rng import normal
from aigc_jax.types import Keys, UsageError

TimeSampler = Callable[[Keys], Array]
"""``keys [B] -> t float32 [B]``."""


def uniform_times(process: Process, *, num_steps: int | None = None) -> TimeSampler:
    """Uniform times between t_min and t_max.

    Args:
        process: the noise process.
        num_steps: None, or only the ``num_steps`` times of DDPM's discrete chain, t = i / num_steps * t_max.

    Reference:
        Ho et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 1.

    >>> from aigc_jax.processes.gaussian import variance_preserving
    >>> from aigc_jax.rng import example_keys
    >>> uniform_times(variance_preserving(), num_steps=4)(example_keys(jax.random.key(0), 3)) % 0.25
    Array([0., 0., 0.], dtype=float32)
    """
    if num_steps is not None and num_steps < 1:
        raise UsageError(f"expected at least one diffusion step, got {num_steps}: the paper uses 1000")

    def continuous(keys: Keys) -> Float[Array, " batch"]:
        return jax.vmap(lambda key: jax.random.uniform(key, (), minval=process.t_min, maxval=process.t_max))(keys)

    def discrete(keys: Keys) -> Float[Array, " batch"]:
        number = jax.vmap(lambda key: jax.random.randint(key, (), 1, (num_steps or 1) + 1))(keys)
        return number.astype(jnp.float32) / (num_steps or 1) * process.t_max

    return continuous if num_steps is None else discrete


def logit_normal_times(mean: float = 0.0, std: float = 1.0) -> TimeSampler:
    """Times of [0, 1] with more of them in the middle: logit(t) ~ N(mean, std^2).

    Args:
        mean: above 0 for more noise.
        std: > 0.

    Reference:
        Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", 2024, equation 19.

    >>> from aigc_jax.rng import example_keys
    >>> t = logit_normal_times()(example_keys(jax.random.key(0), 1000))
    >>> bool(t.min() > 0), bool(t.max() < 1), round(float(t.mean()), 1)
    (True, True, 0.5)
    """
    if std <= 0:
        raise UsageError(f"expected the standard deviation of logit(t) to be positive, got {std}: the paper uses 1")
    return lambda keys: jax.nn.sigmoid(mean + std * normal(keys, ()))


def lognormal_times(mean: float = -1.2, std: float = 1.2, *, limits: tuple[float, float] | None = None) -> TimeSampler:
    """Noise levels of the EDM process: ln(sigma) ~ N(mean, std^2), and t = sigma.

    Args:
        mean: P_mean of the paper.
        std: P_std of the paper, > 0.
        limits: the least and largest noise level, which truncate the distribution; None for none.

    Reference:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, table 1.

    >>> from aigc_jax.rng import example_keys
    >>> t = lognormal_times()(example_keys(jax.random.key(0), 1000))
    >>> round(float(jnp.log(t).mean()), 1)
    -1.2
    """
    if std <= 0:
        raise UsageError(f"expected the standard deviation of ln(sigma) to be positive, got {std}: the paper uses 1.2")
    if limits is None:
        return lambda keys: jnp.exp(mean + std * normal(keys, ()))
    low, high = ((math.log(limit) - mean) / std for limit in limits)
    draw = jax.vmap(lambda key: jax.random.truncated_normal(key, low, high))
    return lambda keys: jnp.exp(mean + std * draw(keys))
