"""Common parts of discriminators: the head with the logit, and minibatch discrimination."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.norm import spectral


class MinibatchDiscrimination(nn.Module):
    """Append to each example's features its closeness to the rest of the batch.

    With M_i = f(x_i) T in R^{B x C}: c_b(x_i, x_j) = exp(-|M_ib - M_jb|_1), o(x_i)_b = sum over j != i of c_b(x_i,
    x_j), divided here by the number of other examples so that the scale does not depend on the batch size. It reveals a
    generator that always draws the same picture. ``axis_name`` is the device axis of the global batch.

    Reference:
        Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.2.
    """

    num_kernels: int = 16  # B, the number of features appended
    kernel_dim: int = 5  # C
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: Float[Array, "batch feature"]) -> Float[Array, "batch all_features"]:
        """Features [B, F] -> [B, F + num_kernels]."""
        m = nn.Dense(self.num_kernels * self.kernel_dim, use_bias=False, name="kernel")(features)
        m = m.reshape(-1, self.num_kernels, self.kernel_dim)
        is_mapped = self.axis_name is not None and not self.is_initializing()
        others = jax.lax.all_gather(m, self.axis_name, tiled=True) if is_mapped else m
        distance = jnp.sum(jnp.abs(m[:, None] - others[None]), axis=-1)
        closeness = jnp.sum(jnp.exp(-distance), axis=1) - 1.0  # less the example itself
        return jnp.concatenate([features, closeness / max(others.shape[0] - 1, 1)], axis=-1)


class Head(nn.Module):
    """From features to one logit: psi(f) + <embed(condition), f>, the projection discriminator.

    Reference:
        Miyato and Koyama, "cGANs with Projection Discriminator", 2018, equation 4.
    """

    num_classes: int = 0
    minibatch_kernels: int = 0
    use_spectral_norm: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch feature"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> Float[Array, " batch"]:
        """Features [B, F] -> logits [B]."""
        inputs = features
        if self.minibatch_kernels:
            inputs = MinibatchDiscrimination(self.minibatch_kernels, axis_name=self.axis_name)(features)
        logits = spectral(nn.Dense(1), inputs, train=train, enabled=self.use_spectral_norm)[:, 0]
        if condition is None:
            return logits
        embed = nn.Embed(self.num_classes, features.shape[-1])
        direction = spectral(embed, condition, train=train, enabled=self.use_spectral_norm)
        return logits + jnp.sum(direction * features, axis=-1)
