"""Dropout with a mask per example, independent of batch size and devices."""

from __future__ import annotations

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.types import Keys


class Dropout(nn.Module):
    """Set values to zero with probability ``rate``, and divide the others by the probability of being kept.

    Flax's own dropout draws one mask for the whole batch; here each example's mask is drawn from its own key and the
    layer's path in the network.

    Reference:
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014, section 10.
    """

    rate: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "batch *shape"], keys: Keys | None) -> Float[Array, "batch *shape"]:
        """``x`` [B, ...]; as it is where ``keys`` [B] is None."""
        if keys is None or self.rate == 0.0:
            return x
        # A checksum of the layer's path, so that no two layers share a mask.
        layer = jnp.uint32(zlib.crc32("/".join(self.path).encode()))
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, layer)
        kept = 1.0 - self.rate
        mask = jax.vmap(lambda key: jax.random.bernoulli(key, kept, x.shape[1:]))(keys)
        return jnp.where(mask, x / kept, 0.0)
