"""Perceptual path length in the limit of a vanishing step: how fast features move along a path between two latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.metrics.intervals import NUM_RESAMPLES, bootstrap_interval
from aigc_jax.types import UsageError

Interpolation = Literal["slerp", "lerp"]
"""Along the great circle, for Gaussian latents, which lie near a sphere; or along the line."""

TRIM = (0.01, 0.99)
"""The published measure leaves the smallest and the largest 1 % of the pairs out."""


class PathLength(NamedTuple):
    """Mean squared speed of the features.

    Attributes:
        value: mean over the pairs between the two quantiles of ``TRIM``.
        low: lower end of its interval.
        high: upper end.
        untrimmed: mean over all pairs.
        n: number of pairs.
    """

    value: float
    low: float
    high: float
    untrimmed: float
    n: int


def interpolate(
    latent_0: Float[Array, "batch latent"],
    latent_1: Float[Array, "batch latent"],
    t: Float[Array, " batch"],
    *,
    interpolation: Interpolation = "slerp",
) -> Float[Array, "batch latent"]:
    """A point between two latents.

    Args:
        latent_0: at t = 0.
        latent_1: at t = 1.
        t: in [0, 1].
        interpolation: ``slerp`` turns at constant speed from the one to the other, and is ``lerp`` where both point the
            same way.

    Returns:
        The latents.

    Reference:
        Shoemake, "Animating rotation with quaternion curves", 1985, section 3.3.

    >>> halfway = interpolate(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 2.0]]), jnp.array([0.5]))
    >>> bool(jnp.allclose(halfway, jnp.sqrt(2.0)))
    True
    """
    t = t[:, None]
    if interpolation == "lerp":
        return (1.0 - t) * latent_0 + t * latent_1
    norms = [jnp.linalg.norm(z, axis=1, keepdims=True) for z in (latent_0, latent_1)]
    cosine = jnp.sum(latent_0 * latent_1, axis=1, keepdims=True) / jnp.maximum(norms[0] * norms[1], 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    # The sines of a small angle are in the proportion of its parts; of exactly opposite latents no circle is the one.
    is_line = jnp.sin(angle) < 1e-4
    safe = jnp.where(is_line, 0.5 * jnp.pi, angle)
    weights = [jnp.where(is_line, part, jnp.sin(part * safe) / jnp.sin(safe)) for part in (1.0 - t, t)]
    return weights[0] * latent_0 + weights[1] * latent_1


def path_speed(
    encode_fn: Callable[[Array], Float[Array, "batch feature"]],
    decode_fn: Callable[[Float[Array, "batch latent"]], Array],
    latents: tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]],
    t: Float[Array, " batch"],
    *,
    interpolation: Interpolation = "slerp",
) -> Float[Array, " batch"]:
    """``|d/dt phi(G(z(t)))|^2`` of each pair of latents: the limit of the published difference quotient.

    The published quotient has a step of 1e-4, which is lost where images are rounded to 8 bits on the way, as one
    library does; a derivative has no step. The features of an example must depend on its own latent alone.

    Args:
        encode_fn: phi, images -> features [B, F]; differentiable, so no rounding.
        decode_fn: G, latents [B, Z] -> images.
        latents: both ends of each path.
        t: where on its path each pair is looked at, in [0, 1]; uniform, or 0 for the ends.
        interpolation: the path z(t).

    Returns:
        One number per pair, in squared units of the features. Hand those of all batches to :func:`path_length`.

    Reference:
        Karras, Laine & Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", 2019,
        section 4.1.

    >>> ends = (jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]))
    >>> path_speed(lambda x: x, lambda z: 2.0 * z, ends, jnp.zeros(1), interpolation="lerp").tolist()
    [100.0]
    """

    def features(t: Float[Array, " batch"]) -> Float[Array, "batch feature"]:
        return encode_fn(decode_fn(interpolate(*latents, t, interpolation=interpolation)))

    _, velocity = jax.jvp(features, (t,), (jnp.ones_like(t),))
    return jnp.sum(jnp.square(velocity), axis=1)


def path_length(
    speeds: Float[np.ndarray, " num"] | Float[Array, " num"],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> PathLength:
    """The mean of squared speeds without the smallest and the largest 1 %, and its 95 % bootstrap interval.

    Args:
        speeds: of all pairs, from :func:`path_speed`.
        num_resamples: of the bootstrap.
        seed: of the resamples.

    Returns:
        The path length; a scale of features and latents, so that only figures of one encoder can be compared.

    Raises:
        UsageError: there are no pairs, or one whose speed is NaN or Inf.

    >>> path_length(np.append(np.ones(199), 1e6), num_resamples=10).value
    1.0
    """
    values = np.asarray(speeds, np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise UsageError(
            f"expected at least one speed, all finite, got {len(values)}: check the latents and the encoder"
        )
    interval = bootstrap_interval(
        lambda index: _trimmed_mean(values[index]), len(values), num_resamples=num_resamples, seed=seed
    )
    return PathLength(_trimmed_mean(values), *interval, float(values.mean()), len(values))


def _trimmed_mean(values: np.ndarray) -> float:
    low, high = np.quantile(values, TRIM[0], method="lower"), np.quantile(values, TRIM[1], method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
