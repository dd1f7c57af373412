"""Perceptual path length in the limit of a vanishing step: squared speed of features along paths between latents."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.metrics.checks import checked
from aigc_jax.types import UsageError

TRIM = (0.01, 0.99)
"""Quantiles of the published measure, which drops the smallest and the largest 1 % of the pairs."""


def interpolate(
    latent_0: Float[Array, "batch latent"], latent_1: Float[Array, "batch latent"], t: Float[Array, " batch"]
) -> Float[Array, "batch latent"]:
    """Spherical interpolation of two latents: along the great circle at constant speed, as Gaussians lie near a sphere.

    Linear interpolation where both point in one direction.

    Reference:
        Shoemake, "Animating rotation with quaternion curves", 1985, section 3.3.
    """
    shapes = latent_0.shape, latent_1.shape, t.shape
    if latent_0.ndim != 2 or shapes[1:] != (shapes[0], shapes[0][:1]):
        raise ValueError(f"expected latents [B, Z] and [B, Z] and t [B], got shapes {shapes}: flatten each latent")
    t = t[:, None]
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
) -> Float[Array, " batch"]:
    """``|d/dt phi(G(z(t)))|^2`` of each pair of latents: the limit of the published difference quotient.

    The published quotient has a step of 1e-4, which is lost where images are rounded to 8 bits on the way; a derivative
    has no step. The features of an example must depend on its own latent alone.

    Args:
        encode_fn: phi, images -> features [B, F]; differentiable, so no rounding.
        decode_fn: G, latents [B, Z] -> images.
        latents: both ends of each path.
        t: in [0, 1], where on its path z(t) of :func:`interpolate` each pair is measured; uniform, or 0 for the ends.

    Returns:
        One number per pair, in squared units of the features. Pass those of all batches to :func:`path_length`.

    Raises:
        ValueError: latents of other shapes than [B, Z].

    Reference:
        Karras, Laine & Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", 2019,
        section 4.1.

    >>> ends = (jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 2.0]]))  # a quarter of a circle of radius 2
    >>> round(float(path_speed(lambda x: x, lambda z: z, ends, jnp.zeros(1))[0]), 3) == round(float(jnp.pi) ** 2, 3)
    True
    """

    def features(t: Float[Array, " batch"]) -> Float[Array, "batch feature"]:
        return encode_fn(decode_fn(interpolate(*latents, t)))

    _, velocity = jax.jvp(features, (t,), (jnp.ones_like(t),))
    return jnp.sum(jnp.square(velocity), axis=1)


def path_length(speeds: Float[np.ndarray, " num"] | Float[Array, " num"]) -> float:
    """Mean of squared speeds without the smallest and the largest 1 %.

    Args:
        speeds: of all pairs, from :func:`path_speed`.

    Returns:
        The path length, in units of features and latents: compare those of one encoder only.

    Raises:
        ValueError: no [N] of numbers.
        UsageError: there are no pairs, or one whose speed is NaN or Inf.

    >>> path_length(np.append(np.ones(199), 1e6))
    1.0
    """
    (values,) = checked(speeds=(speeds, float, "num"))
    values = values.astype(np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise UsageError(
            f"expected at least one speed, all finite, got {len(values)}: check the latents and the encoder"
        )
    low, high = np.quantile(values, TRIM[0], method="lower"), np.quantile(values, TRIM[1], method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
