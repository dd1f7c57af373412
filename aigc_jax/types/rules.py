"""Rules of form as arrays: automata over bytes, and over the tokens of a vocabulary."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

NEVER = np.int32(2**30)
"""Tokens to the end of a text that no token reaches."""


class Automaton(NamedTuple):
    """A deterministic automaton over bytes: the texts, as UTF-8, that a rule allows.

    Attributes:
        next: the state after each byte, -1 where no allowed text goes on so.
        accepts: whether a text may end in each state.
        start: the state before the first byte.
    """

    next: Int[np.ndarray, "state 256"]
    accepts: Bool[np.ndarray, " state"]
    start: int = 0

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.next)


class TokenAutomaton(NamedTuple):
    """An automaton over tokens, which are alike where they lead from all states to the same ones.

    Attributes:
        next: the state after a token of each kind, -1 where it is not allowed.
        need: fewest tokens after one of each kind until the text may end; :data:`NEVER` where it cannot.
        kinds: the kind of each token.
        accepts: whether a text may end in each state.
        start: the state before the first token.
    """

    next: Int[np.ndarray, "state kind"]
    need: Int[np.ndarray, "state kind"]
    kinds: Int[np.ndarray, " vocab"]
    accepts: Bool[np.ndarray, " state"]
    start: int = 0

    @property
    def length(self) -> int:
        """Fewest tokens of an allowed text; :data:`NEVER` where the vocabulary spells none."""
        return 0 if self.accepts[self.start] else int(self.need[self.start].min()) + 1
