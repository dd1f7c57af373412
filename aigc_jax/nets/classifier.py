"""A small convolutional classifier; its last hidden layer gives the features."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.nets.norm import Norm


class ConvClassifier(nn.Module):
    """Pairs of 3 x 3 convolutions with layer norm, each pair halving the resolution, then one hidden layer."""

    num_classes: int = 10
    widths: Sequence[int] = (16, 32)  # channels of each pair
    num_features: int = 64  # units of the hidden layer

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"]
    ) -> tuple[Float[Array, "batch num_classes"], Float[Array, "batch feature"]]:
        """Images [B, H, W, C] in [-1, 1] -> (logits [B, K], features [B, F])."""
        x = image
        for width in self.widths:
            for strides in (1, 2):
                x = nn.relu(Norm("layer")(nn.Conv(width, (3, 3), strides=strides)(x), None, train=False))
        features = nn.Dense(self.num_features)(x.reshape(x.shape[0], -1))
        return nn.Dense(self.num_classes)(nn.relu(features)), jnp.asarray(features)
