"""Normalisation of activations and of weights."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NormKind = Literal["none", "layer", "batch"]


def spectral(layer: nn.Module, *inputs: Array, train: bool, enabled: bool = True) -> Array:
    """Apply a layer with its weights divided by their largest singular value; not ``enabled``, as it is.

    The power iteration's vector u is kept in the ``batch_stats`` collection and moves one step at each call in
    training; gradients go through sigma(W) = u^T W v with u and v held fixed.

    Reference:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, algorithm 1.
    """
    if not enabled:
        return layer(*inputs)
    return nn.SpectralNorm(layer, epsilon=1e-12)(*inputs, update_stats=train)


class LayerNorm(nn.LayerNorm):
    """Flax's layer norm of values less their mean, so that a large mean does not cancel the digits of the variance."""

    def __call__(
        self, x: Float[Array, "batch *shape channel"], *, mask: Array | None = None
    ) -> Float[Array, "batch *shape channel"]:
        """Normalise ``x`` over its channels."""
        # Layer norm does not depend on the number that is subtracted, so no gradient goes through it.
        return super().__call__(x - jax.lax.stop_gradient(jnp.mean(x, axis=-1, keepdims=True)), mask=mask)


class Norm(nn.Module):
    """Normalisation of activations: "layer" over the channels of each position, "batch" over batch and positions.

    With a condition, scale and bias are looked up per class, as in the class-conditional batch norm of Dumoulin et al.
    2017 ("A Learned Representation for Artistic Style", equation 5). Batch statistics are averaged over the device axis
    ``axis_name``.
    """

    kind: NormKind = "layer"
    num_classes: int = 0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *shape channel"], condition: Int[Array, " batch"] | None, *, train: bool
    ) -> Float[Array, "batch *shape channel"]:
        """Normalise ``x``; ``train`` selects the batch's own statistics instead of the running ones."""
        if self.kind == "none":
            return x
        is_plain = condition is None
        affine: dict[str, Any] = {"use_scale": is_plain, "use_bias": is_plain}
        if self.kind == "layer":
            x = LayerNorm(**affine)(x)
        else:
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                axis_name=self.axis_name,
                use_fast_variance=False,
                **affine,
            )(x)
        if condition is None:
            return x
        channels = x.shape[-1]
        scale = nn.Embed(self.num_classes, channels, embedding_init=nn.initializers.ones, name="scale")(condition)
        bias = nn.Embed(self.num_classes, channels, embedding_init=nn.initializers.zeros, name="bias")(condition)
        per_example = (x.shape[0], *(1,) * (x.ndim - 2), channels)
        return x * jnp.reshape(scale, per_example) + jnp.reshape(bias, per_example)
