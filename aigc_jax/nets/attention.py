"""Self-attention over a sequence of vectors."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.types import UsageError


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product attention: softmax(Q K^T / sqrt(d)) V, then a dense layer.

    Attributes:
        head_width: d, channels per head; the number of channels must be a multiple of it. 0 for a single head.
        out_init: initial weights of the last layer; zeros in a U-Net.
        dtype: of the computation; parameters stay float32 and so does the softmax.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, equation 1.
    """

    head_width: int = 64
    out_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "batch length channel"]) -> Float[Array, "batch length channel"]:
        """[B, L, C] -> [B, L, C]."""
        batch, length, channels = x.shape
        head_width = self.head_width or channels
        if channels % head_width:
            raise UsageError(f"attention needs a width that is a multiple of head_width {head_width}, got {channels}")
        dense = {"dtype": self.dtype, "kernel_init": nn.initializers.xavier_uniform()}
        qkv = nn.Dense(3 * channels, **dense, name="qkv")(x).reshape(batch, length, 3, -1, head_width)
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        # Half of the scale on each side, so that bfloat16 products stay small.
        scale = head_width**-0.25
        logits = jnp.einsum("bqhd,bkhd->bhqk", query * scale, key * scale)
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(logits.dtype)
        x = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(batch, length, channels)
        return jnp.asarray(nn.Dense(channels, dtype=self.dtype, kernel_init=self.out_init, name="out")(x))
