"""Thresholding: a transform of a denoiser that limits predictions to the range of the data."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import expand
from aigc_jax.types import Condition, DenoiseFn, Guidance, UsageError


def clip_x_0(low: float = -1.0, high: float = 1.0, *, percentile: float | None = None) -> Guidance:
    """Limit predictions to the range of the data, which large guidance weights exceed.

    Args:
        low: the least value of the data.
        high: the largest, > low.
        percentile: dynamic thresholding in (0, 100]: an example whose deviations from the middle of the range exceed it
            at this percentile is first shrunk by as much. None clips alone (static thresholding).

    Reference:
        Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding", 2022,
        section 2.3.

    >>> clip_x_0()(lambda x, t, condition: x)(jnp.array([[-3.0, 0.5]]), jnp.ones(1), None)
    Array([[-1. ,  0.5]], dtype=float32)
    >>> clip_x_0(percentile=100.0)(lambda x, t, condition: x)(jnp.array([[-2.0, 1.0]]), jnp.ones(1), None)
    Array([[-1. ,  0.5]], dtype=float32)
    """
    if not low < high or (percentile is not None and not 0 < percentile <= 100):
        raise UsageError(f"expected low < high and a percentile in (0, 100], got {low}, {high} and {percentile}")
    middle, radius = 0.5 * (low + high), 0.5 * (high - low)

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        def clipped(x: Array, t: Array, condition: Condition) -> Array:
            x_0 = denoise(x, t, condition)
            if percentile is None:
                return jnp.clip(x_0, low, high)
            away = (x_0 - middle) / radius
            reach = jnp.percentile(jnp.abs(away).reshape(away.shape[0], -1), percentile, axis=1)
            reach = expand(jnp.maximum(reach, 1.0), away)
            return middle + radius * jnp.clip(away, -reach, reach) / reach

        return clipped

    return guide
