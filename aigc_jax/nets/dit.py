"""The diffusion transformer (DiT): patches as tokens, noise level and class by adaptive layer norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aigc_jax.nets.attention import AttentionKind, SelfAttention
from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.embeddings import NoiseEmbedding, sinusoids
from aigc_jax.nets.modulation import ModulatedNorm
from aigc_jax.nets.patches import check_sides, from_patches, to_patches
from aigc_jax.nets.remat import Remat, rematerialized
from aigc_jax.types import Keys, UsageError

_init = nn.initializers.xavier_uniform()


def grid_positions(rows: int, columns: int, features: int) -> Float[Array, "position feature"]:
    """Fixed positions of a grid, row by row: half of the channels are waves of the row, half waves of the column.

    Reference:
        Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, section 3.2, "patchify".
    """
    row, column = jnp.meshgrid(
        jnp.arange(rows, dtype=jnp.float32), jnp.arange(columns, dtype=jnp.float32), indexing="ij"
    )
    return jnp.concatenate([sinusoids(place.reshape(-1), features // 2) for place in (row, column)], axis=-1)


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each behind a modulated norm and a gate; all gates are zero at the start.

    Reference:
        Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, figure 3, "adaLN-Zero".
    """

    head_width: int = 64
    mlp_ratio: int = 4
    dropout: float = 0.0
    attention: AttentionKind = "auto"
    dtype: Any = jnp.float32
    is_rotary: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch length channel"],
        embedding: Float[Array, "batch channel"],
        keys: Keys | None,
    ) -> Float[Array, "batch length channel"]:
        """[B, L, C] and embeddings [B, C] -> [B, L, C]."""
        width = x.shape[-1]
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = _modulations(6, embedding, self.dtype)
        attend = SelfAttention(self.head_width, kind=self.attention, is_rotary=self.is_rotary, dtype=self.dtype)
        h = attend(_modulate(x, shift_1, scale_1, self.dtype))
        x = x + gate_1 * Dropout(self.dropout)(h, keys)
        h = nn.Dense(self.mlp_ratio * width, dtype=self.dtype, kernel_init=_init, name="hidden")(
            _modulate(x, shift_2, scale_2, self.dtype)
        )
        h = nn.Dense(width, dtype=self.dtype, kernel_init=_init, name="out")(jax.nn.gelu(h))
        return x + gate_2 * Dropout(self.dropout)(h, keys)


class DiT(nn.Module):
    """Diffusion transformer. The defaults are DiT-S; B is width 768, L is 1024 x 24, XL is 1152 x 28 of 16 heads.

    Fields are those of :class:`DiTSettings`. Condition ``num_classes``, or None, is "no condition"; ``num_classes`` 0
    is a network without conditions. ``out_channels`` None is as many as the input has. ``is_rotary`` turns queries and
    keys by their number along the rows, in place of waves added to the input. Parameters and output stay float32.

    All blocks are computed by one scan. ``params["blocks"]`` holds a block's parameters with a leading axis of length
    ``depth``: ``params["blocks"]["hidden"]["kernel"]`` is [depth, width, mlp_ratio * width].

    Reference:
        Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, section 3.2 and table 1.
    """

    patch_size: int = 2
    width: int = 384
    depth: int = 12
    head_width: int = 64
    mlp_ratio: int = 4
    dropout: float = 0.0
    num_classes: int = 0
    out_channels: int | None = None
    attention: AttentionKind = "auto"
    remat: Remat = "none"
    unroll: int = 1
    dtype: Any = jnp.float32
    is_rotary: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch height width channel"],
        noise_label: Float[Array, " batch"],
        condition: Int[Array, " batch"] | None,
        *,
        keys: Keys | None = None,
    ) -> Float[Array, "batch height width channel2"]:
        """Noisy images [B, H, W, C], noise labels [B] and classes [B] -> [B, H, W, out_channels], float32.

        ``keys`` is one dropout key per example, None for no dropout.
        """
        self._check(x)
        rows, columns = x.shape[1] // self.patch_size, x.shape[2] // self.patch_size
        num_out = self.patch_size**2 * (self.out_channels or x.shape[-1])
        embedding = NoiseEmbedding(self.width, 256, self.num_classes, dtype=self.dtype)(noise_label, condition)
        tokens = to_patches(x, self.patch_size).reshape(x.shape[0], rows * columns, -1).astype(self.dtype)
        h = nn.Dense(self.width, dtype=self.dtype, kernel_init=_init, name="in")(tokens)
        if not self.is_rotary:
            h = h + grid_positions(rows, columns, self.width)[None].astype(self.dtype)
        h = self._blocks(h, embedding, keys)
        shift, scale = _modulations(2, embedding, self.dtype)
        h = _modulate(h, shift, scale, self.dtype)
        h = nn.Dense(num_out, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")(h)
        return from_patches(h.astype(jnp.float32).reshape(-1, rows, columns, num_out), self.patch_size)

    def _blocks(self, h: Array, embedding: Array, keys: Keys | None) -> Array:
        """All blocks, one after the other: compiled once, however deep the network is."""
        cls = rematerialized(TransformerBlock, self.remat, is_scanned=self.unroll == 1)
        block = cls(
            self.head_width, self.mlp_ratio, self.dropout, self.attention, self.dtype, self.is_rotary, name="blocks"
        )

        def layer(
            block: TransformerBlock, h: Array, number: Array, embedding: Array, keys: Keys | None
        ) -> tuple[Array, None]:
            # All layers have one path in the network, by which dropout tells masks apart.
            own = None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
            return block(h, embedding, own), None

        axes: Any = (0, nn.broadcast, nn.broadcast)
        scan = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=axes,
            length=self.depth,
            unroll=self.unroll,
        )
        return scan(block, h, jnp.arange(self.depth), embedding, keys)[0]

    def _check(self, x: Array) -> None:
        """Refuse sizes that do not divide, before anything compiles."""
        check_sides(f"a DiT of patch_size {self.patch_size}", x.shape, self.patch_size)
        if self.width % 4:
            raise UsageError(f"a DiT needs a width that is a multiple of 4, got {self.width}")


class SequenceDiT(nn.Module):
    """A diffusion transformer of sequences: each of ``length`` places is a patch; inputs and outputs are flat.

    Reference:
        Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (MDLM), 2024, section 5.
    """

    net: DiT  # of patch_size 1, and rotary: added positions drown embeddings of one-hot tokens
    length: int

    def __call__(
        self,
        x: Float[Array, "batch place_channel"],
        noise_label: Float[Array, " batch"],
        condition: Int[Array, " batch"] | None,
        *,
        keys: Keys | None = None,
    ) -> Float[Array, "batch place_channel2"]:
        """Channels of all places [B, L * C], noise labels [B] and classes [B] -> [B, L * out_channels], float32."""
        h = self.net(x.reshape(len(x), 1, self.length, -1), noise_label, condition, keys=keys)
        return h.reshape(len(x), -1)


def _modulations(num_outputs: int, embedding: Array, dtype: Any) -> list[Array]:
    """Shifts, scales and gates [B, 1, C] from one dense layer that starts at zero, of the calling module."""
    features = num_outputs * embedding.shape[-1]
    layer = nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.zeros, name="modulation")
    return jnp.split(layer(jax.nn.silu(embedding))[:, None, :], num_outputs, axis=-1)


def _modulate(x: Array, shift: Array, scale: Array, dtype: Any) -> Array:
    return ModulatedNorm("layer", has_affine=False, dtype=dtype)(x, None) * (1.0 + scale) + shift


@dataclass(frozen=True)
class DiTSettings:
    """The transformer."""

    patch_size: int = 2
    """Pixels a side of a token; the sides of an image must be multiples of it."""
    width: int = 384
    """Channels of a token, a multiple of head_width."""
    depth: int = 12
    """Number of blocks."""
    head_width: int = 64
    """Channels per attention head."""
    mlp_ratio: int = 4
    """Hidden units of each block's perceptron, in units of width."""
    dropout: float = 0.0
    """Probability of zero in blocks."""
    attention: AttentionKind = "auto"
    """Kernel of attention: auto is cudnn (fused) where an NVIDIA GPU computes in bfloat16, else xla."""
    remat: Remat = "none"
    """What gradients compute again in each block to save memory: nothing, all but products with weights (dots), all."""
    unroll: int = 1
    """Blocks in one turn of the loop over blocks; 0 for all. More may run faster, and compile longer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; bfloat16 on GPU and TPU. Weights stay float32."""


def make_dit(
    settings: DiTSettings, *, num_classes: int, out_channels: int | None = None, is_rotary: bool = False
) -> DiT:
    """The network of settings.

    Args:
        settings: the settings.
        num_classes: number of conditions, 0 for none.
        out_channels: channels of the output; None for as many as the input has.
        is_rotary: positions of a sequence, relative, in place of those of a grid.

    >>> make_dit(DiTSettings(depth=6), num_classes=10).depth
    6
    """
    fields = {**vars(settings), "dtype": jnp.dtype(settings.dtype)}
    return DiT(**fields, num_classes=num_classes, out_channels=out_channels, is_rotary=is_rotary)
