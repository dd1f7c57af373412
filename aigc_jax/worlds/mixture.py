"""Mixtures of Gaussians: the smallest worlds in which a model can hallucinate, with the exact density.

A sample far from every mode is a hallucination. The commonest lies between two neighbouring modes, where a smooth
network interpolates a score or velocity that jumps: Aithal et al., "Understanding Hallucinations in Diffusion Models
through Mode Interpolation", 2024, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, UsageError, World

NUM_SIGMAS = 5.0
"""Standard deviations around a mode that count as of it: in two dimensions all but 4 of a million examples."""

VIOLATIONS = ("valid", "between modes", "elsewhere")
"""Near a mode; near the line from one mode to a neighbour; anywhere else."""


def gaussian_mixture(
    name: str,
    means: Float[np.ndarray, "mode channel"],
    scale: float,
    *,
    weights: Sequence[float] | None = None,
    num_sigmas: float = NUM_SIGMAS,
) -> World:
    """A mixture of round Gaussians.

    Args:
        name: what the world is called.
        means: centres of the modes [K, D], K >= 1.
        scale: standard deviation of every mode in every direction, > 0.
        weights: probabilities of the modes, > 0, sum 1; None for equal ones.
        num_sigmas: an example is valid within so many standard deviations of a mode.

    Returns:
        The world; its examples are float32 [N, D].

    Raises:
        UsageError: the scale or the weights are not possible.

    >>> world = gaussian_mixture("two", np.array([[-1.0], [1.0]]), 0.1)
    >>> world.violation(jnp.array([[-1.1], [0.0], [2.0]]))
    Array([0, 1, 2], dtype=int32)
    """
    num_modes, num_channels = means.shape
    shares = [1.0 / max(num_modes, 1)] * num_modes if weights is None else list(weights)
    _check(num_modes, scale, shares)
    centres, radius = jnp.asarray(means, jnp.float32), num_sigmas * scale
    log_weights = jnp.log(jnp.asarray(shares, jnp.float32))

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "mode", "noise")
        if condition is None:
            condition = jax.vmap(lambda key: jax.random.categorical(key, log_weights))(keys["mode"])
        noise = jax.vmap(lambda key: jax.random.normal(key, (num_channels,)))(keys["noise"])
        return centres[condition] + scale * noise

    def mode(x: Float[Array, "num channel"]) -> Int[Array, " num"]:
        return jnp.argmin(_distances(x, centres), axis=1).astype(jnp.int32)

    def violation(x: Float[Array, "num channel"]) -> Int[Array, " num"]:
        is_of_mode = jnp.min(_distances(x, centres), axis=1) <= radius
        return jnp.where(is_of_mode, 0, jnp.where(is_between(x), 1, 2)).astype(jnp.int32)

    def log_prob(x: Float[Array, "num channel"]) -> Float[Array, " num"]:
        squares = jnp.square(_distances(x, centres) / scale)
        normalizer = num_channels * (math.log(scale) + 0.5 * math.log(2.0 * math.pi))
        return jax.nn.logsumexp(log_weights[None] - 0.5 * squares, axis=1) - normalizer

    is_between = _between(means, radius)
    return World(name, num_modes, tuple(shares), VIOLATIONS, sample, violation, mode, log_prob)


def ring(num_modes: int = 8, *, radius: float = math.sqrt(2.0), scale: float = 0.05) -> World:
    """Modes on a circle; by default of unit variance in each direction, but for the modes' own.

    Args:
        num_modes: K >= 1.
        radius: of the circle.
        scale: standard deviation of a mode, > 0.

    Returns:
        The world ``world:ringK``.

    >>> ring().name, ring().num_modes
    ('world:ring8', 8)
    """
    angle = 2.0 * np.pi * np.arange(num_modes) / num_modes
    means = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return gaussian_mixture(f"world:ring{num_modes}", means, scale)


def grid(side: int = 5, *, spacing: float = math.sqrt(0.5), scale: float = 0.05) -> World:
    """Modes on a square grid; by default, five a side, of unit variance in each direction, but for the modes' own.

    Args:
        side: modes a side, >= 1.
        spacing: distance between neighbours.
        scale: standard deviation of a mode, > 0.

    Returns:
        The world ``world:gridK`` with K = side^2.

    >>> grid().name, grid().num_modes
    ('world:grid25', 25)
    """
    line = spacing * (np.arange(side) - (side - 1) / 2)
    means = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    return gaussian_mixture(f"world:grid{side * side}", means, scale)


def _distances(x: Float[Array, "num channel"], centres: Float[Array, "mode channel"]) -> Float[Array, "num mode"]:
    return jnp.linalg.norm(x[:, None] - centres[None], axis=-1)


def _between(
    means: Float[np.ndarray, "mode channel"], radius: float
) -> Callable[[Float[Array, "num channel"]], Bool[Array, " num"]]:
    """Whether points lie near a line from one mode to a neighbour.

    Two modes are neighbours where no third lies in the ball of which their line is the diameter (the Gabriel graph),
    so that the sides of a grid's squares count, and neither diagonals nor longer lines.
    """
    middle = 0.5 * (means[:, None] + means[None])
    half = 0.5 * np.linalg.norm(means[:, None] - means[None], axis=-1)
    is_in_ball = np.linalg.norm(middle[:, :, None] - means[None, None], axis=-1) <= half[:, :, None] * (1 + 1e-6)
    # The ball holds its own two ends.
    first, second = np.nonzero(np.triu(is_in_ball.sum(axis=-1) <= 2, k=1))
    starts = jnp.asarray(means[first], jnp.float32)
    lines = jnp.asarray(means[second] - means[first], jnp.float32)

    def is_between(x: Float[Array, "num channel"]) -> Bool[Array, " num"]:
        offset = x[:, None] - starts[None]
        along = jnp.sum(offset * lines[None], axis=-1) / jnp.sum(jnp.square(lines), axis=-1)[None]
        nearest = jnp.clip(along, 0.0, 1.0)[..., None] * lines[None]
        is_near = jnp.linalg.norm(offset - nearest, axis=-1) <= radius
        # Beside a mode is not between two.
        return jnp.any(is_near & (along > 0.0) & (along < 1.0), axis=1)

    return is_between


def _check(num_modes: int, scale: float, weights: Sequence[float]) -> None:
    if not scale > 0:
        raise UsageError(f"expected a scale > 0 of the modes, got {scale}")
    if len(weights) != num_modes or min(weights) <= 0 or abs(sum(weights) - 1.0) > 1e-6:
        raise UsageError(f"expected {num_modes} weights > 0 that sum to 1, got {list(weights)}")
