"""A classifier without a convolution: perceptrons that mix patches, and perceptrons that mix channels, in turn."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.nets.norm import Norm
from aigc_jax.nets.patches import to_patches


class MixerClassifier(nn.Module):
    """Patches as tokens; blocks of two residual perceptrons behind layer norms; then one hidden layer over all tokens.

    Sides that are no multiples of the patch are continued by their border. Unlike a
    :class:`aigc_jax.nets.classifier.ConvClassifier` it has no neighbourhoods: each patch meets all others at once.

    Reference:
        Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", 2021, equation 1. Here with ReLU, hidden
        layers twice as wide as a token, and at the end a layer in the place of the mean over tokens: it learns more
        from few training images.
    """

    num_classes: int = 10
    patch_size: int = 4  # pixels a side of a token
    width: int = 32  # channels of a token
    depth: int = 1
    num_features: int = 64  # units of the hidden layer

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch height width channel"]
    ) -> tuple[Float[Array, "batch num_classes"], Float[Array, "batch feature"]]:
        """Images [B, H, W, C] in [-1, 1] -> (logits [B, K], features [B, F])."""
        height, width = image.shape[1:3]
        missing = ((0, 0), (0, -height % self.patch_size), (0, -width % self.patch_size), (0, 0))
        patches = to_patches(jnp.pad(image, missing, mode="edge"), self.patch_size)
        x = nn.Dense(self.width, name="in")(patches.reshape(image.shape[0], -1, patches.shape[-1]))
        for _ in range(self.depth):
            across = _perceptron(jnp.swapaxes(_norm(x), 1, 2), 2 * self.width)
            x = x + jnp.swapaxes(across, 1, 2)
            x = x + _perceptron(_norm(x), 2 * self.width)
        features = nn.Dense(self.num_features, name="features")(_norm(x).reshape(x.shape[0], -1))
        return nn.Dense(self.num_classes, name="out")(jax.nn.relu(features)), jnp.asarray(features)


def _norm(x: Array) -> Array:
    return Norm("layer")(x, None, train=False)


def _perceptron(x: Array, width: int) -> Array:
    """One hidden layer over the last axis, of the calling module."""
    return jnp.asarray(nn.Dense(x.shape[-1])(jax.nn.relu(nn.Dense(width)(x))))
