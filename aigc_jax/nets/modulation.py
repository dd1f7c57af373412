"""Normalisation whose scale and shift follow from an embedding: how a denoiser hears of noise level and class."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ModulatedNormKind = Literal["group", "layer", "rms"]


class ModulatedNorm(nn.Module):
    """Normalise, then (1 + scale) x + shift with scale and shift linear in an embedding.

    "group" takes its statistics over all positions and a group of channels; "layer" and "rms" over the channels of
    each position, rms without subtracting the mean. Statistics are float32 whatever the input.

    Attributes:
        kind: where the statistics are taken.
        has_affine: whether there is a learned scale and bias besides the embedding's.
        num_groups: groups of "group", at most; no group gets fewer than four channels.
        dtype: of the result.

    Reference:
        Wu and He, "Group Normalization", 2018, equation 2; Dhariwal and Nichol, "Diffusion Models Beat GANs on Image
        Synthesis", 2021, section 3.1, AdaGN.
    """

    kind: ModulatedNormKind = "group"
    has_affine: bool = True
    num_groups: int = 32
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
            # One multiplication and one addition per value: everything else is folded into [B, C] numbers.
            mean, inverse = self._group_statistics(values)
            scale, shift = scale * inverse, shift - mean * inverse * scale
        else:
            mean = jnp.mean(values, axis=-1, keepdims=True) if self.kind == "layer" else 0.0
            values = values - mean
            values = values * jax.lax.rsqrt(jnp.mean(jnp.square(values), axis=-1, keepdims=True) + 1e-6)
        return (values * scale.reshape(per_example) + shift.reshape(per_example)).astype(self.dtype)

    def _group_statistics(self, values: Array) -> tuple[Array, Array]:
        """Mean and inverse standard deviation of each channel's group, [B, C] each."""
        batch, channels = values.shape[0], values.shape[-1]
        num_groups = min(self.num_groups, max(channels // 4, 1))
        while channels % num_groups:
            num_groups -= 1
        # First over positions, then over the channels of a group: the layout stays, which is fast on CPU.
        values = values.reshape(batch, -1, channels)

        def by_group(value: Array) -> Array:
            return jnp.mean(jnp.mean(value, axis=1).reshape(batch, num_groups, -1), axis=-1)

        mean = by_group(values)
        variance = jnp.maximum(by_group(jnp.square(values)) - jnp.square(mean), 0.0)
        size = channels // num_groups
        return jnp.repeat(mean, size, axis=-1), jnp.repeat(jax.lax.rsqrt(variance + 1e-5), size, axis=-1)
