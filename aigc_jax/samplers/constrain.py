"""Decoding under a rule: each sample is allowed, and finished within its number of tokens."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aigc_jax.types import PyTree, SequenceModel
from aigc_jax.types.rules import NEVER, TokenAutomaton

MAX_TABLE = 2**22
"""Largest table of states and tokens; beyond it, kinds of tokens are looked up in a second step."""


class _Progress(NamedTuple):
    """How far each sample is, beside the model's own cache."""

    cache: PyTree
    state: Int[Array, " batch"]  # of the automaton; -1 after the end
    room: Int[Array, " batch"]  # tokens that may still be drawn


def constrained(model: SequenceModel, automaton: TokenAutomaton, *, end: int, length: int) -> SequenceModel:
    """A model whose samples are texts of a rule, and at their end within ``length`` tokens.

    A token is allowed if the fewest tokens from it to the end of a text are no more than those left to draw, and the
    end where the text may end. All other logits are -inf: apply it to the logits as the model gives them, after
    guidance and before what cuts a distribution, whose likeliest token is then an allowed one.

    Args:
        model: the model. The first token of a prompt is no part of the text.
        automaton: of the tokens; its own length is at most ``length``, and prompts are beginnings of its texts.
        end: the token that ends a sample.
        length: tokens that are drawn at most.

    Reference:
        Willard and Louf, "Efficient Guided Generation for Large Language Models", 2023, section 3, without the count of
        tokens that are left.
    """
    table = _Table(automaton, end)

    def masked(found: tuple[Array, PyTree], state: Array, room: Array) -> tuple[Array, _Progress]:
        logits, cache = found
        return jnp.where(table.is_allowed(state, room), logits, -jnp.inf), _Progress(cache, state, room)

    def prefill(prompt: Array, size: int) -> tuple[Array, _Progress]:
        room = jnp.full(len(prompt), length, jnp.int32)
        return masked(model.prefill(prompt, size), table.after(prompt), room)

    def extend(progress: _Progress, token: Array) -> tuple[Array, _Progress]:
        state = table.step(progress.state, token)
        return masked(model.extend(progress.cache, token), state, progress.room - 1)

    def select(progress: _Progress, rows: Array) -> _Progress:
        return _Progress(model.select(progress.cache, rows), progress.state[rows], progress.room[rows])

    return SequenceModel(prefill, extend, select)


def log_allowed(
    logits: Float[Array, "batch length vocab"],
    tokens: Int[Array, "batch size"],
    num_prompt: Int[Array, " batch"],
    automaton: TokenAutomaton,
    *,
    end: int,
    length: int,
) -> Float[Array, " batch"]:
    """The log of the probability that a model gives to allowed tokens, summed over the places of each sample.

    It is the log of the importance weight of a constrained sample for the model given the rule, up to a constant: where
    the sum is low the mask has forced the model.

    Args:
        logits: of all tokens but the first, as they were drawn from (divided by the temperature), [B, L - 1, V].
        tokens: constrained samples [B, L] with their prompts, padded after the end.
        num_prompt: tokens of each prompt, its first one included.
        automaton: the rule.
        end: the token that ends a sample.
        length: tokens that were drawn at most.
    """
    table = _Table(automaton, end)
    start = jnp.full(len(tokens), automaton.start, jnp.int32)
    is_drawn = jnp.arange(1, tokens.shape[1])[None] >= num_prompt[:, None]
    count = is_drawn.astype(jnp.int32)
    room = length - jnp.cumsum(count, axis=1) + count

    def step(carry: tuple[Array, Array], at: tuple[Array, Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        state, is_over = carry
        logits, token, is_drawn, room = at
        kept = jax.nn.logsumexp(jnp.where(table.is_allowed(state, room), logits, -jnp.inf), axis=-1)
        found = jnp.where(is_drawn & ~is_over & (room > 0), kept - jax.nn.logsumexp(logits, axis=-1), 0.0)
        # The end itself is drawn, and then nothing is.
        is_over = is_over | (is_drawn & (token < 0))
        return (jnp.where(token < 0, state, table.step(state, token)), is_over), found

    places = (logits.swapaxes(0, 1), tokens[:, 1:].T, is_drawn.T, room.T)
    return jax.lax.scan(step, (start, jnp.zeros(len(tokens), bool)), places)[1].sum(axis=0)


class _Table:
    """The arrays of an automaton on the device."""

    def __init__(self, automaton: TokenAutomaton, end: int) -> None:
        need, following = np.append(automaton.need, np.full((1, automaton.need.shape[1]), NEVER), 0), automaton.next
        following = np.append(following, np.full((1, following.shape[1]), -1), 0)
        self.kinds, self.end, self.start = jnp.asarray(automaton.kinds), end, automaton.start
        self.is_whole = len(need) * len(automaton.kinds) <= MAX_TABLE
        chosen = automaton.kinds if self.is_whole else slice(None)
        self.need, self.next = jnp.asarray(need[:, chosen], jnp.int32), jnp.asarray(following[:, chosen], jnp.int32)
        self.accepts = jnp.asarray(np.append(automaton.accepts, False))

    def is_allowed(self, state: Int[Array, " batch"], room: Int[Array, " batch"]) -> Bool[Array, "batch vocab"]:
        """The tokens that leave enough room to end; all after the end, where none is drawn."""
        need = self.need[state]  # -1 is the last row
        need = need if self.is_whole else need[:, self.kinds]
        is_end = jnp.arange(need.shape[1]) == self.end
        allowed = (need < room[:, None]) | (is_end[None] & self.accepts[state][:, None])
        return allowed | (state < 0)[:, None]

    def step(self, state: Int[Array, " batch"], token: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """The state after a token; -1 after the end."""
        return self.next[state, token if self.is_whole else self.kinds[token]]

    def after(self, prompt: Int[Array, "batch size"]) -> Int[Array, " batch"]:
        """The state after the prompt without its first token."""

        def step(state: Array, token: Array) -> tuple[Array, None]:
            return jnp.where(token < 0, state, self.step(state, token)), None

        start = jnp.full(len(prompt), self.start, jnp.int32)
        return jax.lax.scan(step, start, prompt[:, 1:].T)[0]
