"""Fully connected networks: a GAN pair for any image size, and a denoiser of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.discriminator import Head
from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.embeddings import NoiseEmbedding, WithClass
from aigc_jax.nets.norm import Norm, NormKind, spectral
from aigc_jax.types import Keys


class MLPGenerator(nn.Module):
    """Linear 128-256-512-1024 with LeakyReLU 0.2, then tanh.

    Args:
        image_shape: (height, width, channels) of the output.
        widths: units of the hidden layers.
        norm: normalisation after every hidden layer but the first.
        num_classes: 0 for an unconditional generator.
        axis_name: device axis for cross-device batch norm.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    widths: Sequence[int] = (128, 256, 512, 1024)
    norm: NormKind = "batch"
    num_classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> Float[Array, "batch height width channel"]:
        """Latents [B, Z] -> images [B, H, W, C] in [-1, 1]."""
        x = WithClass(self.num_classes)(latent, condition)
        for layer, width in enumerate(self.widths):
            x = nn.Dense(width)(x)
            if layer:
                x = Norm(self.norm, self.num_classes, self.axis_name)(x, condition, train=train)
            x = nn.leaky_relu(x, 0.2)
        x = nn.Dense(math.prod(self.image_shape))(x)
        return jnp.tanh(x).reshape(-1, *self.image_shape)


class MLPDiscriminator(nn.Module):
    """The generator's layers in reverse: Linear 1024-512-256-128 with LeakyReLU 0.2, then one logit.

    Args:
        widths: units of the hidden layers.
        num_classes: 0 for an unconditional discriminator.
        minibatch_kernels: see :class:`aigc_jax.nets.discriminator.MinibatchDiscrimination`, 0 for none.
        use_spectral_norm: divide weights by their largest singular value.
        axis_name: device axis for minibatch discrimination.
    """

    widths: Sequence[int] = (1024, 512, 256, 128)
    num_classes: int = 0
    minibatch_kernels: int = 0
    use_spectral_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> tuple[Float[Array, " batch"], Float[Array, "batch feature"]]:
        """Images [B, H, W, C] -> (logits [B], last hidden layer [B, F])."""
        x = image.reshape(image.shape[0], -1)
        for width in self.widths:
            x = nn.leaky_relu(spectral(nn.Dense(width), x, train=train, enabled=self.use_spectral_norm), 0.2)
        head = Head(self.num_classes, self.minibatch_kernels, self.use_spectral_norm, self.axis_name)
        return head(x, condition, train=train), x


class MLPDenoiser(nn.Module):
    """Layers on points [B, D], each modulated by noise level and class; the last one starts at zero.

    A layer as wide as the one before adds to it, any other replaces it.

    Args:
        widths: units of the hidden layers.
        dropout: probability of zero in hidden layers, in force where dropout keys are given.
        num_classes: K; 0 for a network without conditions. Condition K, or None, is "no condition".
        out_channels: numbers per output; None for as many as the input has.
        dtype: of the computation; parameters and output stay float32.
    """

    widths: Sequence[int] = (128, 128, 128, 128)
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
        """Points [B, D], noise labels and classes [B] -> [B, out_channels] float32; ``keys`` are those of dropout."""
        num_out = self.out_channels or x.shape[-1]
        embedding = NoiseEmbedding(max(self.widths), 0, self.num_classes, dtype=self.dtype)(noise_label, condition)
        h = x.astype(self.dtype)
        for layer, width in enumerate(self.widths):
            modulation = nn.Dense(width, dtype=self.dtype, name=f"modulation_{layer}")(jax.nn.silu(embedding))
            new = jax.nn.silu(nn.Dense(width, dtype=self.dtype, name=f"hidden_{layer}")(h) + modulation)
            new = Dropout(self.dropout)(new, keys)
            h = h + new if layer and h.shape[-1] == width else new
        h = nn.Dense(num_out, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(h)
        return jnp.asarray(h.astype(jnp.float32))
