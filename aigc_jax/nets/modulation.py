"""Normalisation with scale and shift from an embedding: the input of noise level and class to a denoiser."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ModulatedNormKind = Literal["group", "layer", "rms"]


class ModulatedNorm(nn.Module):
    """Normalise, then (1 + scale) x + shift with scale and shift linear in an embedding.

    "group" takes its statistics over all positions and a group of channels; "layer" and "rms" over the channels of each
    position, rms without subtracting the mean. Statistics are float32 whatever the input.

    Reference:
        Wu and He, "Group Normalization", 2018, equation 2; Dhariwal and Nichol, "Diffusion Models Beat GANs on Image
        Synthesis", 2021, section 3.1, AdaGN.
    """

    kind: ModulatedNormKind = "group"
    has_affine: bool = True  # a learned scale and bias besides the embedding's
    num_groups: int = 32  # of "group", at most; no group gets fewer than four channels
    epsilon: float | None = None  # added to variances; None for 1e-5 of "group", 1e-6 of the others
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *shape channel"], embedding: Float[Array, "batch feature"] | None
    ) -> Float[Array, "batch *shape channel"]:
        """``x`` [B, ..., C] normalised and, with an embedding [B, F], modulated."""
        channels = x.shape[-1]
        values = x.astype(jnp.float32)
        scale, shift = jnp.ones((1, channels)), jnp.zeros((1, channels))
        if self.has_affine:
            scale = scale * self.param("scale", nn.initializers.ones, (channels,))[None]
            shift = shift + self.param("bias", nn.initializers.zeros, (channels,))[None]
        if embedding is not None:
            modulation = nn.Dense(2 * channels, dtype=self.dtype, name="modulation")(jax.nn.silu(embedding))
            extra_scale, extra_shift = jnp.split(modulation.astype(jnp.float32), 2, axis=-1)
            scale, shift = scale * (1.0 + extra_scale), shift * (1.0 + extra_scale) + extra_shift
        per_example = (-1, *(1,) * (x.ndim - 2), channels)
        if self.kind == "group":
            values, rest, inverse = self._centre_groups(values)
            # One multiplication and one addition per value: everything else is folded into [B, C] numbers.
            scale, shift = scale * inverse, shift - rest * inverse * scale
        else:
            if self.kind == "layer":
                values = values - jax.lax.stop_gradient(jnp.mean(values, axis=-1, keepdims=True))
                values = values - jnp.mean(values, axis=-1, keepdims=True)
            values = values * jax.lax.rsqrt(
                jnp.mean(jnp.square(values), axis=-1, keepdims=True) + (self.epsilon or 1e-6)
            )
        return (values * scale.reshape(per_example) + shift.reshape(per_example)).astype(self.dtype)

    def _centre_groups(self, values: Array) -> tuple[Array, Array, Array]:
        """Values less a rounded mean of their group, the rest of that mean and the inverse standard deviation [B, C].

        The variance is one of centred values: E[x^2] - E[x]^2 has no correct digit where the mean is large.
        """
        batch, channels = values.shape[0], values.shape[-1]
        num_groups = min(self.num_groups, max(channels // 4, 1))
        while channels % num_groups:
            num_groups -= 1
        size = channels // num_groups

        def by_group(value: Array) -> Array:
            # First over positions, then over the channels of a group: the layout stays, which is fast on CPU.
            each = jnp.mean(value.reshape(batch, -1, channels), axis=1)
            return jnp.repeat(jnp.mean(each.reshape(batch, num_groups, size), axis=-1), size, axis=-1)

        # The result does not depend on the number that is subtracted, so no gradient goes through it.
        mean = jax.lax.stop_gradient(by_group(values))
        values = values - mean.reshape(batch, *(1,) * (values.ndim - 2), channels)
        rest = by_group(values)
        variance = jnp.maximum(by_group(jnp.square(values)) - jnp.square(rest), 0.0)
        return values, rest, jax.lax.rsqrt(variance + (self.epsilon or 1e-5))
