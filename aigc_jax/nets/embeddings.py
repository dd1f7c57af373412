"""From a condition to a vector."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class WithClass(nn.Module):
    """Append a learned vector of the class to each latent.

    Attributes:
        num_classes: number of classes.
        features: length of the vector.
    """

    num_classes: int
    features: int = 32

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch all_latent"]:
        """[B, Z] -> [B, Z + features]; the latent as it is where the condition is None."""
        if condition is None:
            return latent
        return jnp.concatenate([latent, nn.Embed(self.num_classes, self.features)(condition)], axis=-1)
