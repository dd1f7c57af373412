"""Multi-head self-attention over a sequence of vectors, by a fused kernel where the device has one."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.types import UsageError

AttentionKind = Literal["auto", "xla", "cudnn"]
"""cudnn is the fused kernel (flash attention), on NVIDIA GPUs in 16 bits alone, which never makes the matrix of weights
[B, heads, L, L]; xla makes it; auto is cudnn where :func:`has_fused_attention`."""


class SelfAttention(nn.Module):
    """Multi-head self-attention of each sequence, all positions at once.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, equation 1; Dao et al., "FlashAttention: Fast and
        Memory-Efficient Exact Attention with IO-Awareness", 2022.
    """

    head_width: int = 64  # channels per head; 0 for a single head
    out_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()  # of the last layer; zeros in a U-Net
    kind: AttentionKind = "auto"
    dtype: Any = jnp.float32  # of the computation; parameters and softmax stay float32
    is_rotary: bool = False  # queries and keys are turned by their places, see rotate

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
        if self.is_rotary:
            turn = rotation(jnp.arange(length, dtype=jnp.int32)[None], head_width)
            query, key = rotate(query, turn), rotate(key, turn)
        x = attention(query, key, value, kind=self.kind).reshape(batch, length, channels)
        return jnp.asarray(nn.Dense(channels, dtype=self.dtype, kernel_init=self.out_init, name="out")(x))


def attention(
    query: Float[Array, "batch length head channel"],
    key: Float[Array, "batch size kv_head channel"],
    value: Float[Array, "batch size kv_head channel"],
    *,
    kind: AttentionKind,
    mask: Bool[Array, "#batch 1 length size"] | None = None,
    window: int | None = None,
) -> Float[Array, "batch length head channel"]:
    """Attention of queries to keys: softmax of q k^T / sqrt(d) in float32 whatever the dtype, times values.

    With a ``window`` each position sees the last so many up to its own; None: all positions that ``mask`` has.
    """
    # Without limits where none is met: fused kernels have no windows.
    local = (window - 1, 0) if window is not None and window < query.shape[1] else None
    kind = resolved_kind(kind, query.shape[-1], query.dtype)
    with jax.numpy_dtype_promotion("standard"):  # jax promotes 16 bits itself
        return jax.nn.dot_product_attention(
            query,
            key,
            value,
            mask=mask,
            is_causal=window is not None,
            local_window_size=local,
            implementation=kind,
        )


def grouped_attention(
    query: Float[Array, "batch length head channel"],
    key: Float[Array, "batch kv_head size channel"],
    value: Float[Array, "batch kv_head size channel"],
    mask: Bool[Array, "#batch length size"],
) -> Float[Array, "batch length head channel"]:
    """Attention where each head of keys and values is one block of memory, and groups of query heads may share one.

    On a CPU jax's own takes three times as long in training, and four times with a cache, which it moves at each token.
    """
    batch, length, _, channels = query.shape
    grouped = query.reshape(batch, length, key.shape[1], -1, channels) * channels**-0.5
    scores = jnp.einsum("blkgd,bktd->bkglt", grouped, key, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e30)).astype(value.dtype)
    return jnp.einsum("bkglt,bktd->blkgd", weights, value).reshape(query.shape)


class Rotation(NamedTuple):
    """Cosines and sines of rotary positions, the same for all blocks."""

    cos: Float[Array, "batch length 1 half"]
    sin: Float[Array, "batch length 1 half"]


def rotation(position: Int[Array, "batch length"], num_channels: int) -> Rotation:
    """The angles position / 10000^(2 i / C) of the C / 2 pairs of channels."""
    half = num_channels // 2
    frequency = 10_000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = position[..., None, None].astype(jnp.float32) * frequency[None, None, None]
    return Rotation(jnp.cos(angle), jnp.sin(angle))


def rotate(x: Float[Array, "batch length head channel"], by: Rotation) -> Array:
    """Rotary position embedding: pairs of channels (i, i + C/2) turned by the angles of their positions.

    The product of a rotated query and key depends on the difference of their positions alone.

    Reference:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 34.
    """
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = [first * by.cos - second * by.sin, second * by.cos + first * by.sin]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def resolved_kind(kind: AttentionKind, head_width: int, dtype: Any) -> Literal["xla", "cudnn"]:
    """The kernel that auto stands for on this process's device."""
    if kind != "auto":
        return kind
    return "cudnn" if has_fused_attention(_default_device(), head_width, dtype) else "xla"


def has_fused_attention(device: Any, head_width: int, dtype: Any) -> bool:
    """Whether cuDNN's fused attention computes this on every GPU of the device's kind (NVIDIA since Ampere)."""
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return False
    is_half = jnp.dtype(dtype) in (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16))
    return is_half and head_width % 8 == 0 and head_width <= 128 and float(device.compute_capability) >= 8.0


def _default_device() -> Any:
    """The device of this process's computations; all of its devices are of one kind."""
    chosen = getattr(jax.config, "jax_default_device", None)
    if chosen is None:
        return jax.local_devices()[0]
    return jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen
