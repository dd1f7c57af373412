"""The diffusion transformer as settings of a config file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from aigc_jax.nets.transformer import DiT


@dataclass(frozen=True)
class DiTSettings:
    """The transformer."""

    patch_size: int = 2
    """Pixels a side of a token; the sides of an image must be multiples of it."""
    width: int = 384
    """Channels of a token, a multiple of head_width."""
    depth: int = 12
    """Number of blocks."""
    head_width: int = 64
    """Channels per attention head."""
    mlp_ratio: int = 4
    """Hidden units of each block's perceptron, in units of width."""
    dropout: float = 0.0
    """Probability of zero in blocks."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; bfloat16 on GPU and TPU. Weights stay float32."""


def make_dit(settings: DiTSettings, *, num_classes: int, out_channels: int | None = None) -> DiT:
    """The network that settings describe.

    Args:
        settings: the settings.
        num_classes: number of conditions, 0 for none.
        out_channels: channels of the output; None for as many as the input has.

    Returns:
        The module.

    >>> make_dit(DiTSettings(depth=6), num_classes=10).depth
    6
    """
    return DiT(
        patch_size=settings.patch_size,
        width=settings.width,
        depth=settings.depth,
        head_width=settings.head_width,
        mlp_ratio=settings.mlp_ratio,
        dropout=settings.dropout,
        num_classes=num_classes,
        out_channels=out_channels,
        dtype=jnp.dtype(settings.dtype),
    )
