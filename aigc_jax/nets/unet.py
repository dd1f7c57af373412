"""The U-Net of diffusion models: residual blocks down and up again, attention at chosen resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.attention import AttentionKind, SelfAttention
from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.embeddings import NoiseEmbedding
from aigc_jax.nets.modulation import ModulatedNorm, ModulatedNormKind
from aigc_jax.nets.patches import check_sides, double, from_patches, halve, to_patches
from aigc_jax.nets.remat import Remat, rematerialized
from aigc_jax.types import Keys

Resampling = Literal["none", "down", "up"]
ResamplingKind = Literal["block", "conv", "patch"]
"""Inside residual blocks (ADM); by a convolution (DDPM); by a dense layer on patches of two by two positions, which
also changes the width at once."""


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolve, norm modulated by the embedding, SiLU, dropout, convolve from zero; plus the input.

    Reference:
        Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 3.
    """

    width: int
    resampling: Resampling = "none"  # inside the block and on its shortcut
    dropout: float = 0.0
    norm: ModulatedNormKind = "group"
    is_scale_shift: bool = True  # the embedding scales and shifts after the norm (ADM); False adds it before (DDPM)
    norm_epsilon: float | None = None  # see ModulatedNorm
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channel"],
        embedding: Float[Array, "batch feature"],
        keys: Keys | None,
    ) -> Float[Array, "batch height2 width2 channel2"]:
        """[B, H, W, C] -> [B, H, W, width], the sides halved or doubled as ``resampling`` says."""
        norm = {"kind": self.norm, "epsilon": self.norm_epsilon, "dtype": self.dtype}
        resample = {"none": lambda x: x, "down": halve, "up": double}[self.resampling]
        h = resample(jax.nn.silu(ModulatedNorm(**norm)(x, None)))
        h = nn.Conv(self.width, (3, 3), dtype=self.dtype)(h)
        if not self.is_scale_shift:
            added = nn.Dense(self.width, dtype=self.dtype, name="modulation")(jax.nn.silu(embedding))
            h = h + added[:, None, None, :]
        h = jax.nn.silu(ModulatedNorm(**norm)(h, embedding if self.is_scale_shift else None))
        h = Dropout(self.dropout)(h, keys)
        h = nn.Conv(self.width, (3, 3), dtype=self.dtype, kernel_init=nn.initializers.zeros)(h)
        x = resample(x)
        if x.shape[-1] != self.width:
            x = nn.Conv(self.width, (1, 1), dtype=self.dtype, name="shortcut")(x)
        return jnp.asarray(x + h)


class UNet(nn.Module):
    """U-Net with ADM's residual blocks. Defaults are ADM's; the options make it DDPM's, or cheap on CPU.

    Fields are those of :class:`UNetSettings`, where not said otherwise. The middle always has attention. Condition
    ``num_classes``, or None, is "no condition"; ``num_classes`` 0 is a network without conditions. ``out_channels``
    None is as many as the input has. Parameters and output stay float32.

    Reference:
        Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 3 and table 1; Ho, Jain,
        Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B.
    """

    width: int = 128
    channel_multipliers: Sequence[int] = (1, 2, 2)
    num_blocks: int = 2
    attention_resolutions: Sequence[int] = (16, 8)
    head_width: int = 64
    dropout: float = 0.0
    num_classes: int = 0
    out_channels: int | None = None
    patch_size: int = 1
    norm: ModulatedNormKind = "group"
    is_scale_shift: bool = True  # see ResidualBlock
    norm_epsilon: float | None = None  # see ModulatedNorm
    endpoint: bool = False  # of the waves of the noise label, see sinusoids
    resampling: ResamplingKind = "block"
    is_symmetric: bool = False
    attention: AttentionKind = "auto"
    remat: Remat = "none"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channel"],
        noise_label: Float[Array, " batch"],
        condition: Int[Array, " batch"] | None,
        *,
        keys: Keys | None = None,
    ) -> Float[Array, "batch height width channel2"]:
        """Noisy images [B, H, W, C], noise labels [B] and classes [B] -> [B, H, W, out_channels], float32.

        ``keys`` is one dropout key per example, None for no dropout.
        """
        self._check(x)
        out_channels = self.out_channels or x.shape[-1]
        embed = NoiseEmbedding(4 * self.width, self.width, self.num_classes, self.endpoint, self.dtype)
        embedding = embed(noise_label, condition)
        h = nn.Conv(self.width, (3, 3), dtype=self.dtype, name="in")(to_patches(x, self.patch_size).astype(self.dtype))
        h = self._levels(h, embedding, keys)
        h = jax.nn.silu(self._norm(name="out_norm")(h, None))
        num_out = out_channels * self.patch_size**2
        h = nn.Conv(num_out, (3, 3), dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(h)
        return from_patches(h.astype(jnp.float32), self.patch_size)

    def _levels(self, h: Array, embedding: Array, keys: Keys | None) -> Array:
        """The way down, the middle, and the way up with the skip connections."""
        skips = [] if self.is_symmetric else [h]
        widths = [self.width * multiplier for multiplier in self.channel_multipliers]
        for level, width in enumerate(widths):
            if level:
                h = self._halve(h, width, embedding, keys)
                skips += [] if self.is_symmetric else [h]
            for _ in range(self.num_blocks):
                h = self._attend(self._block(width)(h, embedding, keys))
                skips.append(h)
        h = self._block(h.shape[-1])(h, embedding, keys)
        h = self._block(h.shape[-1])(self._attend(h, is_chosen=True), embedding, keys)
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(self.num_blocks + (not self.is_symmetric)):
                h = self._attend(self._block(width)(jnp.concatenate([h, skips.pop()], -1), embedding, keys))
            if level:
                h = self._double(h, widths[level - 1], embedding, keys)
        return h

    def _block(self, width: int, resampling: Resampling = "none") -> ResidualBlock:
        block = rematerialized(ResidualBlock, self.remat, is_scanned=False)
        return block(width, resampling, self.dropout, self.norm, self.is_scale_shift, self.norm_epsilon, self.dtype)

    def _norm(self, name: str | None = None) -> ModulatedNorm:
        return ModulatedNorm(self.norm, epsilon=self.norm_epsilon, dtype=self.dtype, name=name)

    def _attend(self, h: Array, *, is_chosen: bool = False) -> Array:
        if not is_chosen and h.shape[1] not in self.attention_resolutions:
            return h
        sequence = self._norm()(h, None).reshape(h.shape[0], -1, h.shape[-1])
        attend = SelfAttention(self.head_width, nn.initializers.zeros, kind=self.attention, dtype=self.dtype)
        return h + attend(sequence).reshape(h.shape)

    def _halve(self, h: Array, width: int, embedding: Array, keys: Keys | None) -> Array:
        """Half the sides, for a level of ``width`` channels."""
        if self.resampling == "block":
            return self._block(h.shape[-1], "down")(h, embedding, keys)
        if self.resampling == "conv":
            return nn.Conv(h.shape[-1], (3, 3), strides=2, dtype=self.dtype)(h)
        return nn.Dense(width, dtype=self.dtype)(to_patches(h, 2))

    def _double(self, h: Array, width: int, embedding: Array, keys: Keys | None) -> Array:
        """Twice the sides, for a level of ``width`` channels."""
        if self.resampling == "block":
            return self._block(h.shape[-1], "up")(h, embedding, keys)
        if self.resampling == "conv":
            return nn.Conv(h.shape[-1], (3, 3), dtype=self.dtype)(double(h))
        return from_patches(nn.Dense(4 * width, dtype=self.dtype)(h), 2)

    def _check(self, x: Array) -> None:
        """Refuse sides that cannot be halved, before anything compiles."""
        multiple = self.patch_size * 2 ** (len(self.channel_multipliers) - 1)
        check_sides(f"a U-Net of {len(self.channel_multipliers)} levels", x.shape, multiple)


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
    attention: AttentionKind = "auto"
    """Kernel of attention: auto is cudnn (fused) where an NVIDIA GPU computes in bfloat16, else xla."""
    remat: Remat = "none"
    """What gradients compute again in each residual block to save memory: nothing, all but convolutions (dots), all."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; bfloat16 on GPU and TPU. Weights stay float32."""


def make_unet(settings: UNetSettings, *, num_classes: int, out_channels: int | None = None) -> UNet:
    """The network of settings.

    Args:
        settings: the settings.
        num_classes: number of conditions, 0 for none.
        out_channels: channels of the output; None for as many as the input has.

    >>> make_unet(UNetSettings(width=32), num_classes=10).width
    32
    """
    fields = {**vars(settings), "dtype": jnp.dtype(settings.dtype)}
    return UNet(**fields, num_classes=num_classes, out_channels=out_channels)
