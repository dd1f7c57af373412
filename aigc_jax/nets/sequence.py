"""Classifiers of token sequences: convolutions, a Transformer that sees both ways, or a language model with a head."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.nets.attention import attention, rotate, rotation
from aigc_jax.nets.decoder import Decoder
from aigc_jax.nets.norm import LayerNorm
from aigc_jax.types import Keys, UsageError

_init = nn.initializers.normal(0.02)

HEAD = "out"
"""The entry of a classifier's parameters for the layer of its logits."""


class ConvSequenceClassifier(nn.Module):
    """Residual convolutions over embedded tokens, greatest and mean values over the places, one hidden layer.

    Reference:
        Kim, "Convolutional Neural Networks for Sentence Classification", 2014, section 2 (greatest values over time).
    """

    num_classes: int
    vocab_size: int
    width: int = 64  # channels of a token
    depth: int = 2
    size: int = 5  # tokens that a convolution sees
    num_features: int = 64  # units of the hidden layer

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch length"]
    ) -> tuple[Float[Array, "batch num_classes"], Float[Array, "batch feature"]]:
        """Tokens [B, L], padded by -1 -> (logits [B, K], features [B, F])."""
        is_token = _is_token(tokens)[..., None]
        embed = nn.Embed(self.vocab_size, self.width, embedding_init=_init, name="embed")
        x = jnp.where(is_token, embed(jnp.maximum(tokens, 0)), 0.0)
        for layer in range(self.depth):
            h = nn.Conv(self.width, (self.size,), name=f"conv_{layer}")(x)
            h = LayerNorm(epsilon=1e-6, name=f"norm_{layer}")(h)
            # A convolution must not bring padding to life.
            x = jnp.where(is_token, x + nn.relu(h), 0.0)
        # Greatest values are >= 0 as of ReLU, to which those of padding, 0, add nothing.
        pooled = jnp.concatenate([jnp.max(nn.relu(x), axis=1), _mean(x, is_token)], axis=-1)
        return _head(pooled, self.num_features, self.num_classes)


class TransformerSequenceClassifier(nn.Module):
    """Blocks of attention and a perceptron, whose tokens see all others, and the mean over the tokens.

    Reference:
        Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019, without
        the pre-training; Su et al., "RoFormer", 2021 (positions).
    """

    num_classes: int
    vocab_size: int
    width: int = 64  # channels of a token
    depth: int = 2
    head_width: int = 32
    num_features: int = 64  # units of the hidden layer

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch length"]
    ) -> tuple[Float[Array, "batch num_classes"], Float[Array, "batch feature"]]:
        """Tokens [B, L], padded by -1 -> (logits [B, K], features [B, F])."""
        if not self.head_width or self.width % self.head_width or self.head_width % 2:
            raise UsageError(
                f"the classifier needs an even head_width that divides its width {self.width}, got {self.head_width}: "
                "set --head-width"
            )
        is_token = _is_token(tokens)
        position = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32)[None], tokens.shape)
        x = nn.Embed(self.vocab_size, self.width, embedding_init=_init, name="embed")(jnp.maximum(tokens, 0))
        for layer in range(self.depth):
            h = LayerNorm(epsilon=1e-6, name=f"attention_norm_{layer}")(x)
            x = x + self._attend(h, position, is_token, layer)
            h = nn.gelu(nn.Dense(4 * self.width, name=f"hidden_{layer}")(LayerNorm(epsilon=1e-6)(x)))
            x = x + nn.Dense(self.width, kernel_init=nn.initializers.zeros, name=f"mlp_out_{layer}")(h)
        return _head(
            _mean(LayerNorm(epsilon=1e-6, name="norm")(x), is_token[..., None]), self.num_features, self.num_classes
        )

    def _attend(
        self, x: Array, position: Int[Array, "batch length"], is_token: Bool[Array, "batch length"], layer: int
    ) -> Array:
        """Attention to all tokens of the same text; to itself where there are none."""
        shape = (*x.shape[:2], self.width // self.head_width, self.head_width)
        qkv = nn.Dense(3 * self.width, use_bias=False, name=f"qkv_{layer}")(x)
        query, key, value = (part.reshape(shape) for part in jnp.split(qkv, 3, axis=-1))
        mask = is_token[:, None, None] | jnp.eye(x.shape[1], dtype=bool)[None, None]
        turn = rotation(position, query.shape[-1])
        h = attention(rotate(query, turn), rotate(key, turn), value, kind="xla", mask=mask)
        out = nn.Dense(self.width, use_bias=False, kernel_init=nn.initializers.zeros, name=f"out_{layer}")
        return jnp.asarray(out(h.reshape(x.shape)))


class DecoderClassifier(nn.Module):
    """A language model's decoder, the mean of its last hidden states over the tokens, and a linear layer.

    Reference:
        Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018, section 3.2; Howard and
        Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018, section 3.3 (means).
    """

    decoder: Decoder
    num_classes: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch length"], *, keys: Keys | None = None
    ) -> tuple[Float[Array, "batch num_classes"], Float[Array, "batch feature"]]:
        """Tokens [B, L], padded by -1 -> (logits [B, K], features [B, F]); ``keys`` [B] are those of dropout.

        Tokens after the first ``decoder.max_length`` are not read.
        """
        tokens = tokens[:, : self.decoder.max_length]
        is_token = _is_token(tokens)
        hidden, _ = self.decoder(tokens, keys=keys, is_headless=True)
        features = _mean(hidden, is_token[..., None])
        return jnp.asarray(nn.Dense(self.num_classes, kernel_init=_init, name=HEAD)(features)), features


def _is_token(tokens: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    """Which entries are no padding; a UsageError for arrays that are no tokens."""
    if not jnp.issubdtype(tokens.dtype, jnp.signedinteger):
        raise UsageError(f"expected tokens of dtype int32, got {tokens.dtype}: load them by Modality.load")
    return tokens >= 0


def _mean(x: Float[Array, "batch length channel"], is_token: Bool[Array, "batch length 1"]) -> Array:
    """The mean over the tokens; 0 where there are none."""
    total = jnp.sum(jnp.where(is_token, x, 0.0), axis=1)
    return total / jnp.maximum(jnp.sum(is_token, axis=1), 1).astype(x.dtype)


def _head(pooled: Array, num_features: int, num_classes: int) -> tuple[Array, Array]:
    """The hidden layer and the logits, of the calling module."""
    features = nn.Dense(num_features, name="features")(pooled)
    return jnp.asarray(nn.Dense(num_classes, name=HEAD)(jax.nn.relu(features))), jnp.asarray(features)
