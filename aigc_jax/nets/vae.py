"""Encoders and decoders of autoencoders: fully connected ones, and convolutional residual ones.

An encoder gives ``num_outputs`` numbers for each coordinate of the latent (2: mean and log variance), a decoder
``num_outputs`` numbers for each pixel and colour, side by side along the last axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.embeddings import WithClass
from aigc_jax.nets.norm import LayerNorm
from aigc_jax.nets.patches import check_sides, from_patches
from aigc_jax.types import UsageError


class MLPEncoder(nn.Module):
    """Tanh layers 200-200, then one linear layer.

    Args:
        latent_shape: shape of one latent.
        widths: units of the hidden layers.
        num_outputs: numbers for each coordinate of the latent.
        num_classes: 0 for an unconditional encoder.

    Reference:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.1.
    """

    latent_shape: tuple[int, ...] = (50,)
    widths: Sequence[int] = (200, 200)
    num_outputs: int = 2
    num_classes: int = 0

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch *latent"]:
        """Images [B, H, W, C] -> [B, *latent_shape[:-1], num_outputs * latent_shape[-1]]."""
        # Black is 0, as in the paper: at -1, the background of a digit would saturate every unit from the start.
        pixels = 0.5 * (image.reshape(image.shape[0], -1) + 1.0)
        x = _mlp(
            WithClass(self.num_classes)(pixels, condition),
            [*self.widths, math.prod(self.latent_shape) * self.num_outputs],
        )
        return x.reshape(-1, *self.latent_shape[:-1], self.latent_shape[-1] * self.num_outputs)


class MLPDecoder(nn.Module):
    """The mirror of :class:`MLPEncoder`.

    Args:
        image_shape: (height, width, channels) of the image.
        widths: units of the hidden layers.
        num_outputs: numbers for each pixel and colour.
        num_classes: 0 for an unconditional decoder.
        output_bias: initial output of the last layer; the logit of a mean pixel saves the first epochs.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    widths: Sequence[int] = (200, 200)
    num_outputs: int = 1
    num_classes: int = 0
    output_bias: float = 0.0

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch *latent"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch height width outputs"]:
        """Latents [B, ...] -> [B, H, W, C * num_outputs]."""
        height, width, channels = self.image_shape
        x = WithClass(self.num_classes)(latent.reshape(latent.shape[0], -1), condition)
        x = _mlp(x, [*self.widths, math.prod(self.image_shape) * self.num_outputs], output_bias=self.output_bias)
        return x.reshape(-1, height, width, channels * self.num_outputs)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolve, add the class, twice over, plus the identity."""

    num_classes: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch height width channel"]:
        """[B, H, W, C] -> the same shape."""
        channels = x.shape[-1]
        y = nn.Conv(channels, (3, 3))(nn.silu(LayerNorm()(x)))
        if condition is not None:
            y = y + nn.Embed(self.num_classes, channels)(condition)[:, None, None, :]
        return x + nn.Conv(channels, (3, 3))(nn.silu(LayerNorm()(y)))


class ConvTrunk(nn.Module):
    """Halve the sides by a strided convolution, then residual blocks; once for each width."""

    widths: Sequence[int] = (32, 64)
    num_blocks: int = 1
    num_classes: int = 0

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None
    ) -> list[Array]:
        """Images [B, H, W, C] -> one [B, H / 2^l, W / 2^l, widths[l - 1]] for each halving l."""
        check_widths(image.shape, self.widths)
        x, levels = image, []
        for width in self.widths:
            x = nn.Conv(width, (4, 4), strides=2)(x)
            for _ in range(self.num_blocks):
                x = ResidualBlock(self.num_classes)(x, condition)
            levels.append(x)
        return levels


class ConvEncoder(nn.Module):
    """:class:`ConvTrunk`, then one layer to the latent: a vector, or a map at the smallest resolution.

    Args:
        latent_shape: (Z,), or (H / 2^n, W / 2^n, Z) where n widths halve the sides n times.
        widths: channels after each halving.
        num_blocks: residual blocks at each resolution.
        num_outputs: numbers for each coordinate of the latent.
        num_classes: 0 for an unconditional encoder.
    """

    latent_shape: tuple[int, ...] = (50,)
    widths: Sequence[int] = (32, 64)
    num_blocks: int = 1
    num_outputs: int = 2
    num_classes: int = 0

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch *latent"]:
        """Images [B, H, W, C] -> [B, *latent_shape[:-1], num_outputs * latent_shape[-1]]."""
        x = ConvTrunk(self.widths, self.num_blocks, self.num_classes)(image, condition)[-1]
        x = nn.silu(LayerNorm()(x))
        outputs = self.latent_shape[-1] * self.num_outputs
        if len(self.latent_shape) == 1:
            return nn.Dense(outputs)(x.reshape(x.shape[0], -1))
        _check_map(self.latent_shape, x.shape[1:3])
        return nn.Conv(outputs, (1, 1))(x)


class ConvDecoder(nn.Module):
    """The mirror of :class:`ConvEncoder`; sub-pixel convolutions double the sides.

    Args:
        image_shape: (height, width, channels) of the image.
        widths: channels at each resolution, the largest resolution first, as in the encoder.
        num_blocks: residual blocks at each resolution.
        num_outputs: numbers for each pixel and colour.
        num_classes: 0 for an unconditional decoder.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    widths: Sequence[int] = (32, 64)
    num_blocks: int = 1
    num_outputs: int = 1
    num_classes: int = 0

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch *latent"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch height width outputs"]:
        """Latents [B, ...] -> [B, H, W, C * num_outputs]."""
        height, width, channels = self.image_shape
        check_widths(self.image_shape, self.widths)
        rows, columns = height >> len(self.widths), width >> len(self.widths)
        if latent.ndim == 2:
            latent = nn.Dense(rows * columns * self.widths[-1])(WithClass(self.num_classes)(latent, condition))
            x = latent.reshape(-1, rows, columns, self.widths[-1])
        else:
            _check_map(latent.shape[1:], (rows, columns))
            x = nn.Conv(self.widths[-1], (3, 3))(latent)
        smaller = [*self.widths[:-1]][::-1]
        for features in [*smaller, channels * self.num_outputs]:
            for _ in range(self.num_blocks):
                x = ResidualBlock(self.num_classes)(x, condition)
            x = from_patches(nn.Conv(4 * features, (3, 3))(nn.silu(LayerNorm()(x))), 2)
        return x


def check_widths(shape: Sequence[int], widths: Sequence[int]) -> None:
    """Raise UsageError for an image [H, W, C] whose sides cannot be halved once for each width."""
    if not widths:
        raise UsageError("expected at least one width, got none: pass --widths 32 64")
    check_sides(f"a network of {len(widths)} widths", shape, 1 << len(widths))


def _check_map(latent_shape: Sequence[int], sides: Sequence[int]) -> None:
    if len(latent_shape) != 3 or tuple(latent_shape[:2]) != tuple(sides):
        wanted = f"{sides[0]} {sides[1]} {latent_shape[-1]}"
        raise UsageError(
            f"the latent is a vector, or a map of {sides[0]} x {sides[1]}, where the widths end; got the shape "
            f"{' '.join(map(str, latent_shape))}: use {wanted}, or {latent_shape[-1]} alone"
        )


def _mlp(x: Array, widths: Sequence[int], *, output_bias: float = 0.0) -> Array:
    """Linear layers with tanh between them."""
    if min(widths, default=1) < 1:
        raise UsageError(f"expected layers of at least one unit, got {tuple(widths)}: use 200")
    for layer, width in enumerate(widths):
        # Glorot's initialisation, as in the paper; Flax's own is LeCun's.
        bias_init = nn.initializers.constant(output_bias if layer == len(widths) - 1 else 0.0)
        x = nn.Dense(width, kernel_init=nn.initializers.glorot_uniform(), bias_init=bias_init)(x)
        x = jnp.tanh(x) if layer < len(widths) - 1 else x
    return x
