"""Bounds of log p(x) by importance sampling, and remedies against a latent that is ignored."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.types import Keys, UsageError

LogWeightsFn = Callable[[Keys], Array]
"""``keys [B, n] -> log p(x, z) - log q(z | x)`` [B, n], one draw of z per key."""


class Bounds(NamedTuple):
    """Lower bounds of log p(x), in nats [B], from the same draws of the latent."""

    elbo: Array  # L_1, the mean of the log weights
    importance: Array  # L_k, never below the elbo


def draw_keys(keys: Keys, index: Array) -> Keys:
    """Keys ``fold_in(keys[i], index[j])`` [B, n] of example i and draw j, whatever the number of draws."""
    return jax.vmap(jax.vmap(jax.random.fold_in, in_axes=(None, 0)), in_axes=(0, None))(keys, index)


def log_mean_exp(log_weights: Float[Array, "batch num"]) -> Float[Array, " batch"]:
    """L_k of k log weights: log (1/k) sum_j exp(log w_j).

    Reference:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, equation 8.
    """
    return jax.nn.logsumexp(log_weights, axis=1) - math.log(log_weights.shape[1])


def importance_bound(log_weights_fn: LogWeightsFn, keys: Keys, *, num_samples: int, chunk_size: int = 50) -> Bounds:
    """E[L_k] <= log p(x), of any model with a recognition network, rising with k to log p(x).

    ``keys`` [B] is one key per example; ``chunk_size`` draws are computed at once, which changes memory, not the
    result.

    Reference:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, theorem 1.

    >>> from aigc_jax.rng import example_keys
    >>> keys = example_keys(jax.random.key(0), 2)
    >>> importance_bound(lambda keys: jnp.full(keys.shape, -3.0), keys, num_samples=7, chunk_size=2).importance
    Array([-3., -3.], dtype=float32)
    """
    if num_samples < 1 or chunk_size < 1:
        raise UsageError(f"expected num_samples >= 1 and chunk_size >= 1, got {num_samples} and {chunk_size}: raise it")
    size = min(chunk_size, num_samples)

    def chunk(start: Array) -> tuple[Array, Array]:
        index = start + jnp.arange(size, dtype=jnp.int32)
        log_weights = log_weights_fn(draw_keys(keys, index))
        # The last chunk may reach beyond k.
        is_drawn = jnp.broadcast_to(index < num_samples, log_weights.shape)
        return (
            jnp.sum(jnp.where(is_drawn, log_weights, 0.0), axis=1),
            jax.nn.logsumexp(jnp.where(is_drawn, log_weights, -jnp.inf), axis=1),
        )

    sums, logs = jax.lax.map(chunk, jnp.arange(0, num_samples, size, dtype=jnp.int32))
    return Bounds(jnp.sum(sums, axis=0) / num_samples, jax.nn.logsumexp(logs, axis=0) - math.log(num_samples))


def free_bits(kl: Float[Array, "batch *shape"], minimum: float) -> Float[Array, "batch *shape"]:
    """max(lambda, KL): no reward for a KL below a minimum, so that a latent may be used before it pays.

    It is that of each example: the paper's mean over a minibatch would make the loss depend on the batch.

    Args:
        kl: of each coordinate of the latent, nats.
        minimum: lambda >= 0, nats per coordinate; 0 changes nothing.

    Reference:
        Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", 2016, equation 15.

    >>> free_bits(jnp.array([[0.1, 2.0]]), 0.5)
    Array([[0.5, 2. ]], dtype=float32)
    """
    return jnp.maximum(kl, minimum) if minimum else kl


def kl_warmup(beta: float, num_steps: int) -> Callable[[Array], Array]:
    """Schedule of the weight of the KL, rising linearly from near 0 to ``beta``.

    Args:
        beta: the final weight >= 0; 1 is the bound itself.
        num_steps: steps of the rise; 0 for the final weight at once.

    Reference:
        Bowman et al., "Generating Sentences from a Continuous Space", 2016, section 3.1; the weight beta of
        Higgins et al., "beta-VAE", 2017, equation 4.

    >>> [float(kl_warmup(1.0, 4)(jnp.int32(step))) for step in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """
    if beta < 0 or num_steps < 0:
        raise UsageError(f"expected beta >= 0 and num_steps >= 0, got {beta} and {num_steps}: use beta 1")

    def schedule(step: Array) -> Array:
        return beta * jnp.minimum((step.astype(jnp.float32) + 1.0) / max(num_steps, 1), 1.0)

    return schedule
