"""From bytes to tokens: the tokens that an automaton allows in each state, and how many are left to its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from aigc_jax.types.rules import NEVER, Automaton, TokenAutomaton

_CHUNK = 4096
"""Tokens that are followed at a time."""


def lift(automaton: Automaton, vocabulary: Sequence[bytes]) -> TokenAutomaton:
    """The automaton over the tokens of a vocabulary: all sequences of tokens that spell an allowed text.

    Args:
        automaton: over bytes.
        vocabulary: the bytes of each token. One that spells nothing, such as a boundary, is not allowed.

    >>> from aigc_jax.rules.regex import regex
    >>> lift(regex("aab|b"), [b"a", b"ab", b"b", b""]).length
    1
    """
    parts = [_states_after(automaton, vocabulary[at : at + _CHUNK]) for at in range(0, len(vocabulary), _CHUNK)]
    following, kinds = np.unique(np.concatenate(parts, axis=1), axis=1, return_inverse=True)
    left = _left(following, automaton.accepts)
    need = np.append(left, NEVER)[following]
    return TokenAutomaton(
        np.where(need < NEVER, following, -1).astype(np.int32),
        need.astype(np.int32),
        kinds.ravel().astype(np.int32),
        automaton.accepts,
        automaton.start,
    )


def _states_after(automaton: Automaton, tokens: Sequence[bytes]) -> Int[np.ndarray, "state token"]:
    """The state after each token, from each state on."""
    width = max(map(len, tokens), default=0)
    sizes = np.array([len(token) for token in tokens])
    spelled = np.array([list(token.ljust(width, b"\0")) for token in tokens], np.int64).reshape(len(tokens), width)
    table = np.append(automaton.next, np.full((1, 256), -1, np.int32), axis=0)
    state = np.repeat(np.arange(automaton.num_states)[:, None], len(tokens), axis=1)
    for place in range(width):
        state = np.where(place < sizes, table[state, spelled[:, place]], state)
    return np.where(sizes > 0, state, -1).astype(np.int32)


def _left(following: Int[np.ndarray, "state kind"], accepts: np.ndarray) -> Int[np.ndarray, " state"]:
    """Fewest tokens from each state to one where the text may end, by breadth-first search from the ends."""
    left = np.where(accepts, 0, NEVER)
    while True:
        least = np.append(left, NEVER)[following].min(axis=1) + 1
        now = np.minimum(left, least)
        if (now == left).all():
            return left
        left = now


def need_after(automaton: TokenAutomaton, tokens: Iterable[int]) -> int:
    """Fewest tokens from the end of these to the end of a text; :data:`NEVER` where no text begins with them."""
    state = automaton.start
    for token in tokens:
        state = int(automaton.next[state, automaton.kinds[token]]) if state >= 0 else -1
    if state < 0:
        return int(NEVER)
    return 0 if automaton.accepts[state] else min(int(automaton.need[state].min()) + 1, int(NEVER))
