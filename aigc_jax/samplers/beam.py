"""Beam search: the likeliest sequences that a breadth-first search of bounded width finds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from aigc_jax.samplers.decoding import PAD, Decoded, LogitsProcessor
from aigc_jax.types import SequenceModel


def beam_search(
    model: SequenceModel,
    prompt: Int[Array, "batch size"],
    *,
    length: int,
    end: int,
    num_beams: int,
    processor: LogitsProcessor,
) -> Decoded:
    """The likeliest continuation of each prompt among ``num_beams`` that are extended at once.

    At each token the num_beams likeliest of all their extensions stay; one that has ended stays as it is. No key is
    needed. One beam is the greedy choice of each token; as many as there are sequences find the likeliest of all.

    Args:
        model: prefill and extension by one token, and selection of rows of the cache.
        prompt: as of :func:`aigc_jax.samplers.decoding.decode`.
        length: number of tokens to add, >= 1.
        end: the token that ends a sample, and is no part of it; -1 for none.
        num_beams: width of the search, >= 1.
        processor: of the logits, whose log-probabilities are added up.

    Reference:
        Graves, "Sequence Transduction with Recurrent Neural Networks", 2012, section 4.
    """
    batch, num_prompt = prompt.shape
    rows = jnp.repeat(jnp.arange(batch), num_beams)
    sizes = jnp.sum(prompt >= 0, axis=1)[rows]
    logits, cache = model.prefill(prompt, num_prompt + length)
    tokens = jnp.pad(prompt, ((0, 0), (0, length)), constant_values=PAD)[rows]
    state = jax.tree.map(lambda leaf: leaf[rows], processor.init(prompt))
    # One beam of each prompt at first: equal ones would stay equal.
    log_prob = jnp.tile(jnp.where(jnp.arange(num_beams) == 0, 0.0, -jnp.inf), batch)

    def is_going_on(carry: tuple[Any, ...]) -> Array:
        return (carry[0] < length) & ~carry[1].all()

    def extend(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, is_done, tokens, log_prob, logits, cache, state = carry
        log_probs = jax.nn.log_softmax(processor.apply(state, logits))
        vocab_size = log_probs.shape[-1]
        stay = jnp.where(jnp.arange(vocab_size) == 0, 0.0, -jnp.inf)[None]
        total = log_prob[:, None] + jnp.where(is_done[:, None], stay, log_probs)
        log_prob, chosen = jax.lax.top_k(total.reshape(batch, -1), num_beams)
        parent = (chosen // vocab_size + num_beams * jnp.arange(batch)[:, None]).ravel()
        token, was_done = (chosen % vocab_size).ravel().astype(jnp.int32), is_done[parent]
        is_done = was_done | (token == end)
        token = jnp.where(is_done, PAD, token)
        tokens = tokens[parent].at[jnp.arange(len(parent)), sizes + step].set(token)
        state = processor.update(jax.tree.map(lambda leaf: leaf[parent], state), token)
        logits, cache = model.extend(model.select(cache, parent), jnp.maximum(token, 0))
        return step + 1, is_done, tokens, log_prob.ravel(), logits, cache, state

    is_done = jnp.zeros(len(rows), bool)
    start = (jnp.int32(0), is_done, tokens, log_prob, logits[rows], model.select(cache, rows), state)
    _, _, tokens, log_prob, *_ = jax.lax.while_loop(is_going_on, extend, start)
    # The first of each prompt is its likeliest.
    return Decoded(tokens[::num_beams], log_prob[::num_beams])
