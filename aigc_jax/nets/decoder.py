"""The decoder: a Transformer over tokens, each of which sees those before it; with a cache of keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from optax.contrib import MuonDimensionNumbers

from aigc_jax.nets.attention import (
    AttentionKind,
    Rotation,
    attention,
    grouped_attention,
    resolved_kind,
    rotate,
    rotation,
)
from aigc_jax.nets.dense import dense_product
from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.norm import LayerNorm
from aigc_jax.nets.remat import Remat, rematerialized
from aigc_jax.types import Keys, PyTree, UsageError

PositionKind = Literal["rotary", "learned"]
DecoderNormKind = Literal["rms", "layer"]
MlpKind = Literal["swiglu", "gelu", "relu2"]
"""The perceptron: gated by SiLU (three matrices of two thirds of the width, so as many weights), GELU, or the square of
ReLU."""

_init = nn.initializers.normal(0.02)


class LayerCache(NamedTuple):
    """Keys and values of one block."""

    key: Float[Array, "batch kv_head size channel"]
    value: Float[Array, "batch kv_head size channel"]


class Cache(NamedTuple):
    """Keys and values of the tokens so far: what the next one needs of them. Of a fixed size, so compiled once.

    Those of each block are arrays of their own: a loop over tokens writes into them, and copies none.
    """

    layers: tuple[LayerCache, ...]
    length: Int[Array, " batch"]  # number of tokens so far
    label: Int[Array, " batch"]  # the class that the tokens began with, negative for none


class DecoderBlock(nn.Module):
    """Causal attention and a perceptron, each on normalised inputs and added to them; both start at zero."""

    max_length: int
    head_width: int
    num_kv_heads: int
    mlp: MlpKind
    mlp_ratio: int
    norm: DecoderNormKind
    has_qk_norm: bool
    dropout: float
    attention: AttentionKind
    dtype: Any
    num_prompt_tokens: int = 0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "batch length channel"],
        position: Int[Array, "#batch length"],
        turn: Rotation | None,
        cache: LayerCache | None,
        keys: Keys | None,
    ) -> tuple[Array, LayerCache | None]:
        """[B, L, C], its positions, their rotation if they are rotary, this block's cache -> [B, L, C], a new cache."""
        h, cache = self._attend(self._norm("attention_norm")(x), position, turn, cache)
        x = x + Dropout(self.dropout, name="attention_dropout")(h, keys)
        h = self._perceptron(self._norm("mlp_norm")(x))
        return x + Dropout(self.dropout, name="mlp_dropout")(h, keys), cache

    def _attend(
        self, x: Array, position: Array, turn: Rotation | None, cache: LayerCache | None
    ) -> tuple[Array, LayerCache | None]:
        batch, length, channels = x.shape
        num_heads = channels // self.head_width
        num_kv_heads = self.num_kv_heads or num_heads
        sizes = {"query": num_heads, "key": num_kv_heads, "value": num_kv_heads}
        query, key, value = (
            self._dense(size * self.head_width, name)(x).reshape(batch, length, size, self.head_width)
            for name, size in sizes.items()
        )
        if self.has_qk_norm:
            query, key = self._norm("query_norm")(query), self._norm("key_norm")(key)
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        is_fused = resolved_kind(self.attention, self.head_width, self.dtype) == "cudnn"
        if is_fused and cache is None and not self.num_prompt_tokens:
            h = attention(query, key, value, kind="cudnn", window=self.max_length)
        else:
            if cache is not None:
                cache = LayerCache(
                    _written(cache.key, key, position[:, 0]), _written(cache.value, value, position[:, 0])
                )
            keys, values = (key.swapaxes(1, 2), value.swapaxes(1, 2)) if cache is None else cache
            # A token sees as many up to itself as in training, and a soft prompt; a cache holds no more yet.
            place = jnp.arange(keys.shape[2])[None, None]
            ago = position[:, :, None] - place
            mask = (ago >= 0) & ((ago < self.max_length) | (place < self.num_prompt_tokens))
            h = grouped_attention(query, keys, values, mask)
        return self._dense(channels, "out", nn.initializers.zeros)(h.reshape(batch, length, -1)), cache

    def _perceptron(self, x: Array) -> Array:
        channels = x.shape[-1]
        if self.mlp == "swiglu":
            hidden = -(-2 * self.mlp_ratio * channels // 24) * 8  # two thirds, a multiple of 8
            h = jax.nn.silu(self._dense(hidden, "gate")(x)) * self._dense(hidden, "hidden")(x)
        else:
            h = self._dense(self.mlp_ratio * channels, "hidden")(x)
            h = jax.nn.gelu(h) if self.mlp == "gelu" else jnp.square(jax.nn.relu(h))
        return self._dense(channels, "mlp_out", nn.initializers.zeros)(h)

    def _norm(self, name: str) -> nn.Module:
        return make_norm(self.norm, self.dtype, name)

    def _dense(self, features: int, name: str, init: nn.initializers.Initializer = _init) -> nn.Dense:
        return nn.Dense(
            features, use_bias=False, dtype=self.dtype, kernel_init=init, dot_general=dense_product, name=name
        )


def make_norm(kind: DecoderNormKind, dtype: Any, name: str) -> nn.Module:
    """Root-mean-square norm, or layer norm, with learned scales."""
    if kind == "rms":
        return nn.RMSNorm(epsilon=1e-6, dtype=dtype, name=name)
    return LayerNorm(epsilon=1e-6, use_bias=False, dtype=dtype, name=name)


def _written(old: Array, new: Array, start: Array) -> Array:
    """A cache [B, H, T, D] with new entries [B, L, H, D] from the place ``start`` [B] of each row on."""
    write = jax.vmap(lambda old, new, place: jax.lax.dynamic_update_slice_in_dim(old, new, place, axis=1))
    return write(old, new.swapaxes(1, 2).astype(old.dtype), start)


class Decoder(nn.Module):
    """A decoder-only Transformer. Defaults are nanoGPT's size for a CPU, in the form of LLaMA.

    Fields are those of :class:`DecoderSettings`. All blocks are computed by one scan; ``params["blocks"]`` holds a
    block's parameters with a leading axis of length ``depth``. Parameters, softmax and logits are float32.

    Reference:
        Vaswani et al., "Attention Is All You Need", 2017, section 3; Radford et al., "Language Models are Unsupervised
        Multitask Learners", 2019, section 2.3 (norms before); Touvron et al., "LLaMA", 2023, section 2.2 (RMS norm,
        SwiGLU, rotary positions); Ainslie et al., "GQA", 2023 (fewer heads of keys and values); Henry et al.,
        "Query-Key Normalization for Transformers", 2020.
    """

    vocab_size: int
    max_length: int
    width: int = 128
    depth: int = 4
    head_width: int = 32
    num_kv_heads: int = 0
    mlp: MlpKind = "swiglu"
    mlp_ratio: int = 4
    norm: DecoderNormKind = "rms"
    has_qk_norm: bool = True
    positions: PositionKind = "rotary"
    is_tied: bool = True
    dropout: float = 0.0
    attention: AttentionKind = "auto"
    remat: Remat = "none"
    unroll: int = 1
    dtype: Any = jnp.float32
    num_prompt_tokens: int = 0
    num_classes: int = 0

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "batch length"],
        *,
        cache: Cache | None = None,
        keys: Keys | None = None,
        is_start: bool = True,
        is_headless: bool = False,
    ) -> tuple[Float[Array, "batch length output"], Cache | None]:
        """Tokens [B, L] -> logits [B, L, V] of each one's next token, and the cache with these tokens added.

        Each token sees the last ``max_length``, itself included. ``cache`` holds the tokens before; None: there are
        none, and none are kept. ``keys`` is one dropout key per example, None for no dropout. Padding (-1) is read as
        token 0: what comes after it is no logit of a text.

        With ``is_headless``, the last hidden states [B, L, C] in place of the logits.

        Of ``num_prompt_tokens`` > 0, ``params["prompt"]`` [n, D] are embeddings that all tokens see besides, at the
        places before the first tokens, which come with ``is_start``.

        Of ``num_classes`` > 0, V ... V + num_classes are tokens of the classes and of no class, which are read alone,
        as first tokens; their embeddings ``params["classes"]`` are added to those of all tokens after them.
        """
        self._check(tokens.shape[1] if cache is None else cache.layers[0].key.shape[2])
        embed = nn.Embed(self.vocab_size, self.width, dtype=self.dtype, embedding_init=_init, name="embed")
        start = jnp.zeros(1, jnp.int32) if cache is None else cache.length  # without a cache all rows start alike
        x = embed(jnp.clip(tokens, 0, self.vocab_size - 1))
        label = tokens[:, 0] - self.vocab_size
        label = label if cache is None else jnp.where(cache.length == 0, label, cache.label)
        if self.num_classes:
            classes = self.param("classes", _init, (self.num_classes + 1, self.width)).astype(self.dtype)
            # Not to the first token alone: a class that negations hide was not learned in 3,000 steps.
            of_class = jnp.where((label >= 0)[:, None], classes[jnp.clip(label, 0, self.num_classes)], 0)
            x = jnp.where((tokens >= self.vocab_size)[..., None], 0, x) + of_class[:, None]
        if self.num_prompt_tokens:
            prompt = self.param("prompt", _init, (self.num_prompt_tokens, self.width)).astype(self.dtype)
            if is_start:
                x = jnp.concatenate([jnp.broadcast_to(prompt, (len(x), *prompt.shape)), x], axis=1)
        position = start[:, None] + jnp.arange(x.shape[1], dtype=jnp.int32)[None]
        if self.positions == "learned":
            table = self.param("positions", _init, (self.max_length, self.width))
            x = x + table[position].astype(self.dtype)
        x = Dropout(self.dropout, name="dropout")(x, keys)
        turn = rotation(position, self.head_width) if self.positions == "rotary" else None
        if cache is None:
            x, new = self._blocks(x, position, turn, keys), None
        else:
            x, layers = self._cached_blocks(x, position, turn, cache)
            new = Cache(layers, cache.length + x.shape[1], label)
        x = make_norm(self.norm, self.dtype, "norm")(x[:, x.shape[1] - tokens.shape[1] :])
        if is_headless:
            return x.astype(jnp.float32), new
        if self.is_tied:
            logits = embed.attend(x)
        else:
            logits = nn.Dense(self.vocab_size, use_bias=False, dtype=self.dtype, kernel_init=_init, name="head")(x)
        return logits.astype(jnp.float32), new

    def init_cache(self, batch: int, size: int) -> Cache:
        """The cache of no tokens, with places for ``size`` and a soft prompt."""
        size += self.num_prompt_tokens
        shape = (batch, self.num_kv_heads or self.width // self.head_width, size, self.head_width)
        empty = jnp.zeros(shape, self.dtype)
        length = jnp.zeros(batch, jnp.int32)
        return Cache((LayerCache(empty, empty),) * self.depth, length, label=length - 1)

    def _blocks(self, x: Array, position: Array, turn: Rotation | None, keys: Keys | None) -> Array:
        """All blocks, one after the other: compiled once, however deep the network is."""
        block = self._make_block(rematerialized(DecoderBlock, self.remat, is_scanned=self.unroll == 1), "blocks")

        def layer(
            block: DecoderBlock, x: Array, number: Array, position: Array, turn: Rotation | None, keys: Keys | None
        ) -> tuple[Array, None]:
            # All layers have one path in the network, by which dropout tells masks apart.
            own = None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
            return block(x, position, turn, None, own)[0], None

        axes: Any = (0, nn.broadcast, nn.broadcast, nn.broadcast)
        scan = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=axes,
            length=self.depth,
            unroll=self.unroll or self.depth,
        )
        return scan(block, x, jnp.arange(self.depth), position, turn, keys)[0]

    def _cached_blocks(
        self, x: Array, position: Array, turn: Rotation | None, cache: Cache
    ) -> tuple[Array, tuple[LayerCache, ...]]:
        """All blocks, each with its cache. Not by a scan, which would copy the caches at each token."""
        stacked, layers = self.get_variable("params", "blocks"), []
        block = self._make_block(DecoderBlock, None)
        for i, own in enumerate(cache.layers):
            params = jax.tree.map(lambda leaf, i=i: leaf[i], stacked)
            x, new = block.apply({"params": params}, x, position, turn, own, None)  # pyright: ignore[reportGeneralTypeIssues]
            layers.append(new)
        return x, tuple(layers)

    def _make_block(self, cls: type[DecoderBlock], name: str | None) -> DecoderBlock:
        """The block: under a name a part of this module, without one by itself."""
        kwargs: Any = {"parent": None} if name is None else {"name": name}
        return cls(
            self.max_length,
            self.head_width,
            self.num_kv_heads,
            self.mlp,
            self.mlp_ratio,
            self.norm,
            self.has_qk_norm,
            self.dropout,
            self.attention,
            self.dtype,
            self.num_prompt_tokens,
            **kwargs,
        )

    def _check(self, length: int) -> None:
        """Refuse sizes that do not divide, before anything compiles."""
        if not self.head_width or self.width % self.head_width or self.head_width % 2:
            raise UsageError(
                f"a decoder needs an even head_width that divides its width {self.width}, got {self.head_width}: "
                "set --net.head-width"
            )
        num_heads = self.width // self.head_width
        if self.num_kv_heads and num_heads % self.num_kv_heads:
            raise UsageError(
                f"num_kv_heads must divide the number of heads, {num_heads}, got {self.num_kv_heads}: "
                "set --net.num-kv-heads"
            )
        if self.positions == "learned" and self.num_prompt_tokens:
            raise UsageError("a soft prompt needs positions of any number: use a network of --net.positions rotary")
        if self.positions == "learned" and length > self.max_length:
            raise UsageError(
                f"learned positions reach {self.max_length} tokens, got {length}: shorten the prompt or --length, or "
                "train with --net.positions rotary"
            )


def is_matrix(params: PyTree) -> PyTree:
    """Whether each parameter is of a matrix, which weight decay shrinks, or a scale of a norm, which it leaves.

    A mask for ``optax.adamw``. The rank does not tell: scales of all blocks are stacked.
    """
    names = ("kernel", "embedding", "positions", "classes")
    return jax.tree.map_with_path(lambda path, _: getattr(path[-1], "key", None) in names, params)


def muon_matrices(params: PyTree) -> PyTree:
    """The axes of the matrices of blocks [depth, in, out] for ``optax.contrib.muon``; None for all other parameters."""

    def axes(path: Any, leaf: Array) -> MuonDimensionNumbers | None:
        names = [getattr(entry, "key", None) for entry in path]
        return MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1) if "blocks" in names and leaf.ndim > 2 else None

    return jax.tree.map_with_path(axes, params)


@dataclass(frozen=True)
class DecoderSettings:
    """The Transformer."""

    width: int = 128
    """Channels of a token, a multiple of head_width."""
    depth: int = 4
    """Number of blocks."""
    head_width: int = 32
    """Channels per attention head."""
    num_kv_heads: int = 0
    """Heads of keys and values, which several query heads share; 0 for as many as query heads."""
    mlp: MlpKind = "swiglu"
    """The perceptron of each block: swiglu, gelu or relu2."""
    mlp_ratio: int = 4
    """Hidden units of each block's perceptron, in units of width (of swiglu two thirds, in each of two)."""
    norm: DecoderNormKind = "rms"
    """Normalisation: rms, or layer."""
    has_qk_norm: bool = True
    """Normalise queries and keys."""
    positions: PositionKind = "rotary"
    """Positions: rotary, relative and of any number; or learned, absolute and of the training length."""
    is_tied: bool = True
    """The last layer is the embedding, transposed."""
    dropout: float = 0.0
    """Probability of zero in embeddings and blocks."""
    attention: AttentionKind = "auto"
    """Kernel of attention: auto is cudnn (fused) where an NVIDIA GPU computes in bfloat16, else xla."""
    remat: Remat = "none"
    """What gradients compute again in each block to save memory: nothing, all but products with weights (dots), all."""
    unroll: int = 0
    """Blocks in one turn of the loop over blocks; 0 for all. More run faster on CPUs, and compile longer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; bfloat16 on GPU and TPU. Weights stay float32."""


def make_decoder(settings: DecoderSettings, *, vocab_size: int, max_length: int) -> Decoder:
    """The network of settings.

    Args:
        settings: the settings.
        vocab_size: number of tokens V.
        max_length: number of tokens that one sees, itself included: the length of training sequences.

    >>> make_decoder(DecoderSettings(depth=2), vocab_size=65, max_length=64).depth
    2
    """
    fields = {**vars(settings), "dtype": jnp.dtype(settings.dtype)}
    return Decoder(vocab_size, max_length, **fields)
