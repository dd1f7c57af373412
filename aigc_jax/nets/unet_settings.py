"""The U-Net as settings of a config file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from aigc_jax.nets.modulation import ModulatedNormKind
from aigc_jax.nets.unet import ResamplingKind, UNet


@dataclass(frozen=True)
class UNetSettings:
    """The U-Net."""

    width: int = 128
    """Channels of the first level."""
    channel_multipliers: tuple[int, ...] = (1, 2, 2)
    """Channels of each level, in units of width; the sides halve from level to level."""
    num_blocks: int = 2
    """Residual blocks per level on the way down; one more on the way up."""
    attention_resolutions: tuple[int, ...] = ()
    """Heights of the feature maps that attend to themselves."""
    head_width: int = 0
    """Channels per attention head; 0 for a single head."""
    patch_size: int = 1
    """Squares of so many pixels a side become channels: 2 makes the network four times cheaper."""
    dropout: float = 0.0
    """Probability of zero in residual blocks."""
    norm: ModulatedNormKind = "group"
    """Normalisation: group, or rms for each position by itself."""
    resampling: ResamplingKind = "block"
    """How the sides halve and double: block (ADM), conv (DDPM), or patch, the cheapest."""
    is_symmetric: bool = False
    """As many blocks on the way up as on the way down, which is cheaper; False: one more per level, as in ADM."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; bfloat16 on GPU and TPU. Weights stay float32."""


def make_unet(settings: UNetSettings, *, num_classes: int, out_channels: int | None = None) -> UNet:
    """The network that settings describe.

    Args:
        settings: the settings.
        num_classes: number of conditions, 0 for none.
        out_channels: channels of the output; None for as many as the input has.

    Returns:
        The module.

    >>> make_unet(UNetSettings(width=32), num_classes=10).width
    32
    """
    return UNet(
        width=settings.width,
        channel_multipliers=settings.channel_multipliers,
        num_blocks=settings.num_blocks,
        attention_resolutions=settings.attention_resolutions,
        head_width=settings.head_width,
        dropout=settings.dropout,
        num_classes=num_classes,
        out_channels=out_channels,
        patch_size=settings.patch_size,
        norm=settings.norm,
        resampling=settings.resampling,
        is_symmetric=settings.is_symmetric,
        dtype=jnp.dtype(settings.dtype),
    )
