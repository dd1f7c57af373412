"""The DCGAN-style convolutional pair, for images whose sides are multiples of four."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.discriminator import Head
from aigc_jax.nets.embeddings import WithClass
from aigc_jax.nets.norm import Norm, NormKind, spectral
from aigc_jax.nets.patches import check_sides, from_patches
from aigc_jax.types import UsageError


class ConvGenerator(nn.Module):
    """A linear layer to a quarter of the size, then sub-pixel convolutions up to the image.

    Args:
        image_shape: (height, width, channels) of the output; sides must be multiples of four.
        width: channels at the smallest resolution, halved at each doubling of the sides; a multiple of four.
        norm: normalisation after every layer but the last.
        num_classes: 0 for an unconditional generator.
        axis_name: device axis for cross-device batch norm.

    Reference:
        Radford et al., "Unsupervised Representation Learning with DCGANs", 2016, section 3.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    width: int = 64
    norm: NormKind = "layer"
    num_classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> Float[Array, "batch height width channel"]:
        """Latents [B, Z] -> images [B, H, W, C] in [-1, 1]."""
        height, width, channels = self.image_shape
        check_sides("ConvGenerator", self.image_shape, 4)
        if self.width < 4 or self.width % 4:
            raise UsageError(f"ConvGenerator needs a width that is a multiple of 4, got {self.width}: use 64")

        def activate(x: Array) -> Array:
            return nn.leaky_relu(Norm(self.norm, self.num_classes, self.axis_name)(x, condition, train=train), 0.2)

        x = WithClass(self.num_classes)(latent, condition)
        x = nn.Dense(height // 4 * (width // 4) * self.width)(x).reshape(-1, height // 4, width // 4, self.width)
        for features in (self.width // 2, self.width // 4):
            x = from_patches(nn.Conv(4 * features, (3, 3))(activate(x)), 2)
        return jnp.tanh(nn.Conv(channels, (3, 3))(activate(x)))


class ConvDiscriminator(nn.Module):
    """Strided convolutions without batch norm, then one linear layer to the features and the logit.

    Args:
        widths: channels after each halving of the resolution.
        num_features: units of the last hidden layer.
        num_classes: 0 for an unconditional discriminator.
        minibatch_kernels: see :class:`aigc_jax.nets.discriminator.MinibatchDiscrimination`, 0 for none.
        use_spectral_norm: divide weights by their largest singular value.
        axis_name: device axis for minibatch discrimination.
    """

    widths: Sequence[int] = (32, 64)
    num_features: int = 128
    num_classes: int = 0
    minibatch_kernels: int = 0
    use_spectral_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> tuple[Float[Array, " batch"], Float[Array, "batch feature"]]:
        """Images [B, H, W, C] -> (logits [B], last hidden layer [B, F])."""

        def layer(module: nn.Module, x: Array) -> Array:
            return nn.leaky_relu(spectral(module, x, train=train, enabled=self.use_spectral_norm), 0.2)

        x = image
        for width in self.widths:
            x = layer(nn.Conv(width, (4, 4), strides=2), x)
        x = layer(nn.Dense(self.num_features), x.reshape(x.shape[0], -1))
        head = Head(self.num_classes, self.minibatch_kernels, self.use_spectral_norm, self.axis_name)
        return head(x, condition, train=train), x
