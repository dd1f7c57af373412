"""The residual pair of SNGAN, for images whose sides are multiples of eight.

Reference:
    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, appendix B.4, table 4.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.discriminator import Head
from aigc_jax.nets.norm import Norm, NormKind, spectral
from aigc_jax.nets.patches import check_sides, double

_init = nn.initializers.glorot_uniform()
_residual_init = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # before a ReLU, as in the paper's code


class UpBlock(nn.Module):
    """Norm, ReLU, up-sample, convolve, twice over; plus an up-sampled shortcut."""

    width: int
    norm: NormKind = "batch"
    num_classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> Float[Array, "batch height2 width2 channel2"]:
        """[B, H, W, C] -> [B, 2H, 2W, width]."""

        def activate(x: Array) -> Array:
            return nn.relu(Norm(self.norm, self.num_classes, self.axis_name)(x, condition, train=train))

        shortcut = nn.Conv(self.width, (1, 1), kernel_init=_init)(double(x))
        x = nn.Conv(self.width, (3, 3), kernel_init=_residual_init)(double(activate(x)))
        return nn.Conv(self.width, (3, 3), kernel_init=_residual_init)(activate(x)) + shortcut


class DownBlock(nn.Module):
    """ReLU, convolve, ReLU, convolve, perhaps down-sample; plus a shortcut."""

    width: int
    is_first: bool = False  # the input is an image: no ReLU before the first convolution
    is_halved: bool = True  # by average pooling
    use_spectral_norm: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channel"], *, train: bool
    ) -> Float[Array, "batch height2 width2 channel2"]:
        """[B, H, W, C] -> [B, H / 2, W / 2, width], or the same sides."""

        def convolve(x: Array, size: int) -> Array:
            layer = nn.Conv(self.width, (size, size), kernel_init=_init if size == 1 else _residual_init)
            return spectral(layer, x, train=train, enabled=self.use_spectral_norm)

        def halve(x: Array) -> Array:
            return _average(x) if self.is_halved else x

        is_same = not self.is_halved and x.shape[-1] == self.width
        # On an image the pooling comes first, as in the paper's code: cheaper, and the same in sum.
        shortcut = convolve(halve(x), 1) if self.is_first else x if is_same else halve(convolve(x, 1))
        x = convolve(x if self.is_first else nn.relu(x), 3)
        return halve(convolve(nn.relu(x), 3)) + shortcut


class ResNetGenerator(nn.Module):
    """A linear layer to an eighth of the size, three :class:`UpBlock`, then tanh.

    Args:
        image_shape: (height, width, channels) of the output; sides must be multiples of eight.
        width: channels of every block, 256 in the paper.
        norm: normalisation, class-conditional where there are classes.
        num_classes: 0 for an unconditional generator.
        axis_name: device axis for cross-device batch norm.
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    width: int = 256
    norm: NormKind = "batch"
    num_classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> Float[Array, "batch height width channel"]:
        """Latents [B, Z] -> images [B, H, W, C] in [-1, 1]."""
        height, width, channels = self.image_shape
        check_sides("ResNetGenerator", self.image_shape, 8)
        x = nn.Dense(height // 8 * (width // 8) * self.width, kernel_init=_init)(latent)
        x = x.reshape(-1, height // 8, width // 8, self.width)
        for _ in range(3):
            x = UpBlock(self.width, self.norm, self.num_classes, self.axis_name)(x, condition, train=train)
        x = nn.relu(Norm(self.norm, 0, self.axis_name)(x, None, train=train))
        return jnp.tanh(nn.Conv(channels, (3, 3), kernel_init=_init)(x))


class ResNetDiscriminator(nn.Module):
    """Two halving blocks, two that keep the size, ReLU, the sum over positions, and the head.

    Args:
        width: channels of every block, 128 in the paper.
        num_classes: 0 for an unconditional discriminator.
        minibatch_kernels: see :class:`aigc_jax.nets.discriminator.MinibatchDiscrimination`, 0 for none.
        use_spectral_norm: divide weights by their largest singular value.
        axis_name: device axis for minibatch discrimination.
    """

    width: int = 128
    num_classes: int = 0
    minibatch_kernels: int = 0
    use_spectral_norm: bool = True
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> tuple[Float[Array, " batch"], Float[Array, "batch feature"]]:
        """Images [B, H, W, C] -> (logits [B], summed last layer [B, F])."""
        x = image
        for block in range(4):
            down = DownBlock(self.width, block == 0, block < 2, self.use_spectral_norm)
            x = down(x, train=train)
        features = jnp.sum(nn.relu(x), axis=(1, 2))
        head = Head(self.num_classes, self.minibatch_kernels, self.use_spectral_norm, self.axis_name)
        return head(features, condition, train=train), features


def _average(x: Float[Array, "batch height width channel"]) -> Float[Array, "batch height2 width2 channel"]:
    """Means of squares of two by two; Flax's avg_pool divides by an integer, which strict promotion refuses."""
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))
