"""Decoding under a rule: each sample is allowed, and finished within its number of tokens."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.types import PyTree, SequenceModel
from aigc_jax.types.rules import NEVER, HostRule, TokenAutomaton

MAX_TABLE = 2**22
"""Largest table of states and tokens; beyond it, kinds of tokens are looked up in a second step."""


LEAST = -50.0
"""Least log-probability that look-ahead gives to an allowed token."""

_LOWEST = -1e30
"""In the place of logits that are no numbers, and of infinite ones."""


class _Progress(NamedTuple):
    """How far each sample is, beside the model's own cache."""

    cache: PyTree
    state: Int[Array, " batch"]  # of the automaton; -1 after the end
    room: Int[Array, " batch"]  # tokens that may still be drawn


def constrained(
    model: SequenceModel,
    automaton: TokenAutomaton,
    *,
    end: int,
    length: int,
    look_ahead: Float[Array, "room vocab state"] | None = None,
    temperature: float = 1.0,
    penalty: float = math.inf,
) -> SequenceModel:
    """A model whose samples are texts of a rule, and at their end within ``length`` tokens.

    A token is allowed if the fewest tokens from it to the end of a text are no more than those left to draw, and the
    end where the text may end. All other logits are -inf: apply it to the logits as the model gives them, after
    guidance and before what cuts a distribution, whose likeliest token is then an allowed one.

    Args:
        model: the model. The first token of a prompt is no part of the text.
        automaton: of the tokens; its own length is at most ``length``, and prompts are beginnings of its texts.
        end: the token that ends a sample.
        length: tokens that are drawn at most.
        look_ahead: as of :func:`aigc_jax.rules.look_ahead.look_ahead`, which lowers the logits of tokens from which few
            texts come to an allowed end; None to see no further than the mask.
        temperature: by which the logits are divided later, so that the look-ahead is not.
        penalty: subtracted from the logits of all other tokens. If finite, a sample may leave the rule at that price,
            and is then free; the promise is lost.

    Reference:
        Willard and Louf, "Efficient Guided Generation for Large Language Models", 2023, section 3, without the count of
        tokens that are left.
    """
    table = _Table(automaton, end, look_ahead)

    def masked(found: tuple[Array, PyTree], state: Array, room: Array) -> tuple[Array, _Progress]:
        logits, cache = found
        # Also of a model that has diverged: an allowed token stays possible.
        finite = jnp.nan_to_num(logits, nan=_LOWEST, posinf=-_LOWEST, neginf=_LOWEST)
        return finite + table.bonus(state, room, temperature, penalty), _Progress(cache, state, room)

    def prefill(prompt: Array, size: int) -> tuple[Array, _Progress]:
        room = jnp.full(len(prompt), length, jnp.int32)
        return masked(model.prefill(prompt, size), table.after(prompt), room)

    def extend(progress: _Progress, token: Array) -> tuple[Array, _Progress]:
        state = table.step(progress.state, token)
        return masked(model.extend(progress.cache, token), state, progress.room - 1)

    def select(progress: _Progress, rows: Array) -> _Progress:
        return _Progress(model.select(progress.cache, rows), progress.state[rows], progress.room[rows])

    return SequenceModel(prefill, extend, select)


class _Written(NamedTuple):
    """The tokens of each sample so far, beside the model's own cache."""

    cache: PyTree
    tokens: Int[Array, "batch size"]
    num: Int[Array, " batch"]


def masked_on_host(model: SequenceModel, rule: HostRule) -> SequenceModel:
    """A model whose samples begin like a text of a rule, which is asked on the host before each token.

    It is slower than :func:`constrained`, and a sample may run out of its length before its text is whole.

    Args:
        model: the model. The first token of a prompt is no part of the text.
        rule: the rule.
    """

    def masked(found: tuple[Array, PyTree], tokens: Array, num: Array) -> tuple[Array, _Written]:
        logits, cache = found
        shape = jax.ShapeDtypeStruct(logits.shape, jnp.bool_)
        is_allowed = jax.pure_callback(rule.masks, shape, tokens, vmap_method="sequential")
        finite = jnp.nan_to_num(logits, nan=_LOWEST, posinf=-_LOWEST, neginf=_LOWEST)
        return jnp.where(is_allowed, finite, -jnp.inf), _Written(cache, tokens, num)

    def prefill(prompt: Array, size: int) -> tuple[Array, _Written]:
        tokens = jnp.pad(prompt[:, 1:], ((0, 0), (0, size - prompt.shape[1])), constant_values=-1)
        return masked(model.prefill(prompt, size), tokens, jnp.sum(prompt[:, 1:] >= 0, axis=1))

    def extend(written: _Written, token: Array) -> tuple[Array, _Written]:
        # The token of a sample that is over is 0, and is not looked at.
        rows, place = jnp.arange(len(token)), jnp.minimum(written.num, written.tokens.shape[1] - 1)
        tokens = written.tokens.at[rows, place].set(token)
        return masked(model.extend(written.cache, token), tokens, written.num + 1)

    def select(written: _Written, rows: Array) -> _Written:
        return _Written(model.select(written.cache, rows), written.tokens[rows], written.num[rows])

    return SequenceModel(prefill, extend, select)


def log_allowed(
    logits: Float[Array, "batch length vocab"],
    tokens: Int[Array, "batch size"],
    num_prompt: Int[Array, " batch"],
    automaton: TokenAutomaton,
    *,
    end: int,
    length: int,
    look_ahead: Float[Array, "room vocab state"] | None = None,
) -> Float[Array, " batch"]:
    """The log of the probability that a model gives to allowed tokens, summed over the places of each sample.

    It is the log of the importance weight of a constrained sample for the model given the rule, up to a constant: where
    the sum is low the mask has forced the model. With look-ahead, what that added to the drawn token is subtracted.

    Args:
        logits: of all tokens but the first, as they were drawn from (divided by the temperature), [B, L - 1, V].
        tokens: constrained samples [B, L] with their prompts, padded after the end.
        num_prompt: tokens of each prompt, its first one included.
        automaton: the rule.
        end: the token that ends a sample.
        length: tokens that were drawn at most.
        look_ahead: as of :func:`constrained`.
    """
    table = _Table(automaton, end, look_ahead)
    start = jnp.full(len(tokens), automaton.start, jnp.int32)
    is_drawn = jnp.arange(1, tokens.shape[1])[None] >= num_prompt[:, None]
    count = is_drawn.astype(jnp.int32)
    room = length - jnp.cumsum(count, axis=1) + count

    def step(carry: tuple[Array, Array], at: tuple[Array, Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        state, is_over = carry
        logits, token, is_drawn, room = at
        bonus = table.bonus(state, room)
        own = jnp.take_along_axis(bonus, jnp.where(token < 0, end, token)[:, None], axis=-1)[:, 0]
        kept = jax.nn.logsumexp(logits + bonus, axis=-1) - jax.nn.logsumexp(logits, axis=-1) - own
        found = jnp.where(is_drawn & ~is_over & (room > 0), kept, 0.0)
        # The end itself is drawn, and then nothing is.
        is_over = is_over | (is_drawn & (token < 0))
        return (jnp.where(token < 0, state, table.step(state, token)), is_over), found

    places = (logits.swapaxes(0, 1), tokens[:, 1:].T, is_drawn.T, room.T)
    return jax.lax.scan(step, (start, jnp.zeros(len(tokens), bool)), places)[1].sum(axis=0)


class _Table:
    """The arrays of an automaton on the device."""

    def __init__(self, automaton: TokenAutomaton, end: int, look_ahead: Array | None) -> None:
        need, following = np.append(automaton.need, np.full((1, automaton.need.shape[1]), NEVER), 0), automaton.next
        following = np.append(following, np.full((1, following.shape[1]), -1), 0)
        self.kinds, self.end, self.start = jnp.asarray(automaton.kinds), end, automaton.start
        self.is_whole = len(need) * len(automaton.kinds) <= MAX_TABLE
        chosen = automaton.kinds if self.is_whole else slice(None)
        self.need, self.next = jnp.asarray(need[:, chosen], jnp.int32), jnp.asarray(following[:, chosen], jnp.int32)
        self.accepts, self.look_ahead = jnp.asarray(np.append(automaton.accepts, False)), look_ahead

    def bonus(
        self, state: Int[Array, " batch"], room: Int[Array, " batch"], scale: float = 1.0, penalty: float = math.inf
    ) -> Float[Array, "batch vocab"]:
        """What is added to the logits: -penalty to tokens that leave too little room to end, and the look-ahead.

        After the end, where none is drawn, nothing is.
        """
        need = self._of_tokens(self.need, state)
        is_end = (jnp.arange(need.shape[1]) == self.end)[None]
        is_allowed = (need < room[:, None]) | (is_end & self.accepts[state][:, None])
        if self.look_ahead is None:
            ahead = jnp.zeros(need.shape)
        else:
            after, tokens = self._of_tokens(self.next, state), jnp.arange(need.shape[1])[None]
            ahead = self.look_ahead[jnp.maximum(room - 1, 0)[:, None], tokens, jnp.maximum(after, 0)]
            # What is allowed stays possible.
            ahead = jnp.where(is_end, 0.0, jnp.maximum(ahead, LEAST))
        # The mask is not scaled: at temperature 0 that would be 0 * -inf.
        return jnp.where((state < 0)[:, None], 0.0, jnp.where(is_allowed, scale * ahead, -penalty))

    def _of_tokens(self, table: Array, state: Int[Array, " batch"]) -> Int[Array, "batch vocab"]:
        """The row of each state [B, V]; that of -1 is the last one."""
        return table[state] if self.is_whole else table[state][:, self.kinds]

    def step(self, state: Int[Array, " batch"], token: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """The state after a token; -1 after the end."""
        return self.next[state, token if self.is_whole else self.kinds[token]]

    def after(self, prompt: Int[Array, "batch size"]) -> Int[Array, " batch"]:
        """The state after the prompt without its first token."""

        def step(state: Array, token: Array) -> tuple[Array, None]:
            return jnp.where(token < 0, state, self.step(state, token)), None

        start = jnp.full(len(prompt), self.start, jnp.int32)
        return jax.lax.scan(step, start, prompt[:, 1:].T)[0]
