"""Mixtures of Gaussians: the smallest worlds in which a model can hallucinate, with the exact density and denoiser.

A sample far from every mode is a hallucination. Most lie between two neighbouring modes, where a smooth network
interpolates a score or velocity that jumps: Aithal et al., "Understanding Hallucinations in Diffusion Models through
Mode Interpolation", 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import chdtri

from aigc_jax.rng import example_keys
from aigc_jax.types import Condition, UsageError, World
from aigc_jax.worlds.gaussians import distances, draw, gaussians, log_density, posterior_mean
from aigc_jax.worlds.modes import mode_weights

TAIL = 1e-6
"""Share of a mode's own examples outside its valid radius."""

VIOLATIONS = ("valid", "between modes", "elsewhere")
"""Near a mode; near the line from one mode to a neighbour; anywhere else."""


def valid_radius(num_channels: int, tail: float = TAIL) -> float:
    """Radius in standard deviations that holds all but a tail of a Gaussian's examples, in any dimension.

    The squared distance has the chi-square distribution with as many degrees of freedom as dimensions.

    >>> [round(valid_radius(num_channels), 2) for num_channels in (1, 2, 16)]
    [4.89, 5.26, 7.64]
    """
    return float(np.sqrt(chdtri(num_channels, tail)))


def gaussian_mixture(
    name: str,
    means: Float[np.ndarray, "mode channel"],
    scale: float | Float[np.ndarray, "mode channel"],
    *,
    axes: Float[np.ndarray, "mode channel channel"] | None = None,
    weights: Sequence[float] | None = None,
    num_sigmas: float | None = None,
) -> World:
    """World of round or rotated Gaussians; its examples are float32 [N, D].

    Args:
        name: of the world.
        means: centres of the modes [K, D], K >= 1.
        scale: standard deviation of every mode in every direction, or of each along its axes [K, D]; > 0.
        axes: principal directions of each mode, columns of orthogonal matrices [K, D, D]; None for the coordinate axes.
        weights: probabilities of the modes, > 0, sum 1; None for equal ones.
        num_sigmas: an example is valid within so many standard deviations of a mode; None for :func:`valid_radius`.

    Raises:
        UsageError: impossible scale, axes or weights.

    >>> world = gaussian_mixture("two", np.array([[-1.0], [1.0]]), 0.1)
    >>> world.violation(jnp.array([[-1.1], [0.0], [2.0]]))
    Array([0, 1, 2], dtype=int32)
    """
    num_modes, num_channels = means.shape
    scales = np.broadcast_to(np.asarray(scale, np.float64), means.shape)
    turns = np.broadcast_to(np.eye(num_channels), (num_modes, num_channels, num_channels)) if axes is None else axes
    shares = mode_weights(num_modes, weights)
    _check(scales, turns)
    mixture = gaussians(means, scales, turns, shares)
    radius = valid_radius(num_channels) if num_sigmas is None else num_sigmas
    is_between = _between(means, turns / scales[:, None], radius)

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        return draw(mixture, example_keys(key, num_samples), condition)

    def mode(x: Float[Array, "num channel"]) -> Int[Array, " num"]:
        return jnp.argmin(distances(mixture, x), axis=1).astype(jnp.int32)

    def violation(x: Float[Array, "num channel"]) -> Int[Array, " num"]:
        is_of_mode = jnp.min(distances(mixture, x), axis=1) <= radius
        return jnp.where(is_of_mode, 0, jnp.where(is_between(x), 1, 2)).astype(jnp.int32)

    def log_prob(x: Float[Array, "num channel"]) -> Float[Array, " num"]:
        return log_density(mixture, x)

    def denoise(x_t: Array, alpha: Array, sigma: Array, condition: Condition) -> Array:
        return posterior_mean(mixture, x_t, alpha, sigma, condition)

    return World(name, num_modes, shares, VIOLATIONS, sample, violation, mode, "point", log_prob, denoise)


def _between(
    means: Float[np.ndarray, "mode channel"], whiteners: Float[np.ndarray, "mode channel channel"], radius: float
) -> Callable[[Float[Array, "num channel"]], Bool[Array, " num"]]:
    """Whether points lie near a line from one mode to a neighbour, within the valid radius of one of the two.

    Two modes are neighbours if no third lies in the ball whose diameter is their line (the Gabriel graph): sides of a
    grid's squares, but neither diagonals nor longer lines.
    """
    middle = 0.5 * (means[:, None] + means[None])
    half = 0.5 * np.linalg.norm(means[:, None] - means[None], axis=-1)
    is_in_ball = np.linalg.norm(middle[:, :, None] - means[None, None], axis=-1) <= half[:, :, None] * (1 + 1e-6)
    # The ball holds its own two ends.
    first, second = np.nonzero(np.triu(is_in_ball.sum(axis=-1) <= 2, k=1))
    starts = jnp.asarray(means[first], jnp.float32)
    lines = jnp.asarray(means[second] - means[first], jnp.float32)
    ends = [jnp.asarray(whiteners[end], jnp.float32) for end in (first, second)]

    def is_between(x: Float[Array, "num channel"]) -> Bool[Array, " num"]:
        offset = x[:, None] - starts[None]
        along = jnp.sum(offset * lines[None], axis=-1) / jnp.sum(jnp.square(lines), axis=-1)[None]
        across = offset - jnp.clip(along, 0.0, 1.0)[..., None] * lines[None]
        sizes = [jnp.linalg.norm(jnp.einsum("ned,edf->nef", across, end, precision="highest"), axis=-1) for end in ends]
        # Beyond an end of the line is not between two modes.
        return jnp.any((jnp.minimum(*sizes) <= radius) & (along > 0.0) & (along < 1.0), axis=1)

    return is_between


def _check(scales: Float[np.ndarray, "mode channel"], axes: Float[np.ndarray, "mode channel channel"]) -> None:
    if not np.all(scales > 0):
        raise UsageError(f"expected a scale > 0 of the modes, got {scales.min()}")
    error = np.abs(np.einsum("kde,kdf->kef", axes, axes) - np.eye(axes.shape[-1])).max()
    if not error < 1e-5:
        raise UsageError(f"expected axes that are orthogonal and of length 1, got some that are off by {error:.2g}")
