"""Self-knowledge of a model of text: whether it would end its text with the same word again."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.samplers.decoding import Decoding, decode
from aigc_jax.types import Keys, SequenceModel

PAD = -1


class LastWord(NamedTuple):
    """Which tokens make up the last word of a text, and how often it is drawn again.

    Attributes:
        is_start: whether each token begins a word.
        end: the token that ends a text.
        num_draws: words drawn after the same beginning.
        num_tokens: most tokens of a word.
    """

    is_start: Bool[np.ndarray, " vocab"]
    end: int
    num_draws: int = 8
    num_tokens: int = 16

    def place(self, tokens: Int[Array, "num length"]) -> Int[Array, " num"]:
        """Where the last word begins; the second token where no other does, since the first one is no part of it."""
        begins = jnp.asarray(self.is_start)[jnp.maximum(tokens, 0)] & (tokens >= 0)
        place = jnp.arange(tokens.shape[1])[None]
        return jnp.maximum(jnp.max(jnp.where(begins, place, 0), axis=1), 1)


def last_word_nll(
    nll: Float[Array, "num target"], tokens: Int[Array, "num length"], settings: LastWord
) -> Float[Array, " num"]:
    """The negative log-probability of each text's last word and of what follows it, in nats."""
    place = jnp.arange(1, tokens.shape[1])[None]
    return jnp.sum(jnp.where(place >= settings.place(tokens)[:, None], nll, 0.0), axis=1)


def redrawn_words(
    model: SequenceModel, tokens: Int[Array, "num length"], keys: Keys, settings: LastWord
) -> tuple[Int[Array, "num draw token"], Int[Array, "num token"]]:
    """Words drawn after the beginning of each text, and its own last word: tokens, padded after the word."""
    num, length = tokens.shape
    start = settings.place(tokens)
    prompts = jnp.where(jnp.arange(length)[None] < start[:, None], tokens, PAD)
    logits, cache = model.prefill(prompts, length + settings.num_tokens)
    rows = jnp.repeat(jnp.arange(num), settings.num_draws)
    # All draws of a text go on from one cache.
    begun = SequenceModel(lambda prompt, size: (logits[rows], model.select(cache, rows)), model.extend)
    own = jax.vmap(lambda key: jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(settings.num_draws)))(keys)
    processor = Decoding().processor(logits.shape[-1], settings.end)
    drawn = decode(
        begun,
        prompts[rows],
        own.reshape(-1),
        length=settings.num_tokens,
        end=settings.end,
        processor=processor,
    ).tokens
    words = _word_at(drawn, start[rows], settings).reshape(num, settings.num_draws, -1)
    padded = jnp.pad(tokens, ((0, 0), (0, settings.num_tokens)), constant_values=PAD)
    return words, _word_at(padded, start, settings)


def _word_at(tokens: Int[Array, "num length"], start: Int[Array, " num"], settings: LastWord) -> Array:
    """The word that begins at a place of each text, padded from the next word on."""
    place = start[:, None] + jnp.arange(settings.num_tokens)[None]
    found = jnp.take_along_axis(tokens, place, axis=1)
    is_other = (found < 0) | (found == settings.end) | jnp.asarray(settings.is_start)[jnp.maximum(found, 0)]
    is_over = jnp.cumsum(is_other.at[:, 0].set(found[:, 0] < 0), axis=1) > 0
    return jnp.where(is_over, PAD, found)


Words = Int[Array, "num draw token"] | Int[np.ndarray, "num draw token"]


def semantic_entropy(drawn: Words) -> Float[Array, " num"]:
    """The entropy in nats of words drawn after the same beginning, of which equal ones mean the same.

    Reference:
        Farquhar et al., "Detecting hallucinations in large language models using semantic entropy", 2024, equation 5.
    """
    drawn = jnp.asarray(drawn)
    count = jnp.sum(jnp.all(drawn[:, :, None] == drawn[:, None], axis=-1), axis=-1)
    return -jnp.mean(jnp.log(count / drawn.shape[1]), axis=1)


def disagreement(drawn: Words, own: Int[Array, "num token"] | Int[np.ndarray, "num token"]) -> Float[Array, " num"]:
    """The share of words drawn after the same beginning that differ from the text's own.

    Reference:
        Manakul, Liusie, Gales, "SelfCheckGPT", 2023, section 5, with equality in the place of a judge.
    """
    return 1.0 - jnp.mean(jnp.all(jnp.asarray(drawn) == jnp.asarray(own)[:, None], axis=-1), axis=1)
