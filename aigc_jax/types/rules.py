"""Rules of form as arrays: automata over bytes, and over the tokens of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable
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


class HostRule(NamedTuple):
    """A rule of texts that no automaton holds, asked on the host.

    Attributes:
        masks: ``tokens so far [B, L], padded by -1 -> which may come next, bool [B, V]``, at least one of each row.
        is_whole: ``tokens [n] -> whether they spell a text of the rule``.
    """

    masks: Callable[[Int[np.ndarray, "batch length"]], Bool[np.ndarray, "batch vocab"]]
    is_whole: Callable[[Int[np.ndarray, " n"]], bool]


class Level(NamedTuple):
    """Sums of products of earlier values of a :class:`Circuit`; a node may have one product, or many.

    Attributes:
        first: one factor of each product, the index of an earlier value.
        second: the other factor.
        node: the sum that each product belongs to, 0 ... num_nodes - 1, rising.
        num_nodes: number of sums, which are the next values.
    """

    first: Int[np.ndarray, " product"]
    second: Int[np.ndarray, " product"]
    node: Int[np.ndarray, " product"]
    num_nodes: int


class Circuit(NamedTuple):
    """A formula over attributes as sums of products, level by level: its weighted model count in one pass.

    Values are, in this order, 0 (:data:`FALSE`), 1 (:data:`TRUE`), the weights of the values of all attributes, and the
    sums of each level; the last one is the count. Sums are over disjoint cases of the same attributes, the factors of a
    product have none in common: the circuit is deterministic, smooth and decomposable.

    Attributes:
        attributes: names, in the order of the weights.
        sizes: number of values of each.
        levels: the sums.
    """

    attributes: tuple[str, ...]
    sizes: tuple[int, ...]
    levels: tuple[Level, ...]

    @property
    def num_products(self) -> int:
        """Size of the circuit."""
        return sum(len(level.node) for level in self.levels)


FALSE, TRUE = 0, 1
"""Indices of the constants among the values of a circuit."""
