"""The perceptron that denoises points: the plainest network of a diffusion model."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.embeddings import NoiseEmbedding
from aigc_jax.types import Keys


class MLPDenoiser(nn.Module):
    """Residual layers on points [B, D], each told of noise level and class; the last layer starts at zero.

    Attributes:
        width: units of each layer.
        depth: number of residual layers.
        dropout: probability of zero in residual layers, in force where dropout keys are given.
        num_classes: K; 0 for a network without conditions. Condition K, or None, is "no condition".
        out_channels: numbers per output; None for as many as the input has.
        dtype: of the computation; parameters and output stay float32.
    """

    width: int = 128
    depth: int = 3
    dropout: float = 0.0
    num_classes: int = 0
    out_channels: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch channel"],
        noise_label: Float[Array, " batch"],
        condition: Int[Array, " batch"] | None,
        *,
        keys: Keys | None = None,
    ) -> Float[Array, "batch channel2"]:
        """Noisy points [B, D], noise labels [B] and classes [B] -> [B, out_channels], float32.

        ``keys`` is one dropout key per example, None for no dropout.
        """
        embedding = NoiseEmbedding(self.width, 0, self.num_classes, dtype=self.dtype)(noise_label, condition)
        h = nn.Dense(self.width, dtype=self.dtype, name="in")(x.astype(self.dtype))
        for layer in range(self.depth):
            told = h + nn.Dense(self.width, dtype=self.dtype, name=f"modulation_{layer}")(jax.nn.silu(embedding))
            inner = jax.nn.silu(nn.Dense(self.width, dtype=self.dtype, name=f"hidden_{layer}")(jax.nn.silu(told)))
            h = h + Dropout(self.dropout)(inner, keys)
        num_out = self.out_channels or x.shape[-1]
        h = nn.Dense(num_out, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(jax.nn.silu(h))
        return jnp.asarray(h.astype(jnp.float32))
