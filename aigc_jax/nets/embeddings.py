"""Embeddings of conditions and noise levels."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class WithClass(nn.Module):
    """Append a learned vector of the class to each latent."""

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


def sinusoids(
    position: Float[Array, " batch"], features: int, *, endpoint: bool = False
) -> Float[Array, "batch feature"]:
    """Cosines and sines of a number at geometrically spaced frequencies: [cos(w_k p), sin(w_k p)], float32 [B, F].

    Frequencies run from 1 down to 1 / 10,000, so positions should span hundreds; ``endpoint`` includes the last one, as
    the code of DDPM does.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
    """
    half = features // 2
    frequencies = jnp.exp(-jnp.log(10_000.0) * jnp.arange(half, dtype=jnp.float32) / (half - endpoint))
    angle = position[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


class NoiseEmbedding(nn.Module):
    """Embedding of noise level and class: two dense layers on waves, plus a learned vector.

    Row ``num_classes`` of the table is "no condition"; ``num_classes`` 0 is a network without conditions.

    Reference:
        Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B; Dhariwal and Nichol,
        "Diffusion Models Beat GANs on Image Synthesis", 2021, section 3; the null class is of Ho and Salimans,
        "Classifier-Free Diffusion Guidance", 2022, section 3.2.
    """

    features: int
    num_waves: int = 0  # waves of the noise label, even; 0 for as many as features
    num_classes: int = 0
    endpoint: bool = False  # see sinusoids
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, noise_label: Float[Array, " batch"], condition: Int[Array, " batch"] | None
    ) -> Float[Array, "batch feature"]:
        """Noise label [B], about [0, 1] or a few units wide, and class [B] (None: no condition) -> [B, features]."""
        # Waves are made for DDPM's 1,000 steps.
        x = sinusoids(1000.0 * noise_label, self.num_waves or self.features, endpoint=self.endpoint)
        x = nn.Dense(self.features, dtype=self.dtype)(x.astype(self.dtype))
        x = nn.Dense(self.features, dtype=self.dtype)(jax.nn.silu(x))
        if self.num_classes == 0:
            return jnp.asarray(x)
        if condition is None:
            condition = jnp.full(noise_label.shape, self.num_classes, jnp.int32)
        return x + nn.Embed(self.num_classes + 1, self.features, dtype=self.dtype, name="class")(condition)
