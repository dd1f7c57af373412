"""Non-deterministic automata over characters, and the smallest deterministic ones over the bytes of UTF-8."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.rules.bytes import check_size, minimal
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

Chars = tuple[tuple[int, int], ...]
"""A set of characters as ranges of code points, in order and apart."""

Part = Callable[[int], int]
"""``node -> node``: adds the nodes of a part of a language after a node, and returns its last one."""

LAST = 0x10FFFF
"""The last code point."""

_SURROGATES = (0xD800, 0xDFFF)
_MAX_NODES = 200_000
_FACTOR = 8
"""How many times as large as a minimal automaton one may be on the way there."""


class Nodes:
    """A non-deterministic automaton with empty transitions, whose first node is 0.

    Reference:
        Thompson, "Regular Expression Search Algorithm", 1968.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        """How messages call the language."""
        self.empty: list[list[int]] = [[]]
        self.moves: list[tuple[Chars, int] | None] = [None]

    def new(self) -> int:
        """Another node."""
        if len(self.empty) >= _MAX_NODES:
            raise UsageError(f"{self.name} is too large: shorten counted repetitions such as {{100}}")
        self.empty.append([])
        self.moves.append(None)
        return len(self.empty) - 1

    def after(self, start: int) -> int:
        """A new node that an empty transition leads to."""
        node = self.new()
        self.empty[start].append(node)
        return node

    def add(self, chars: Chars, start: int) -> int:
        """One of some characters after a node that is no part of anything else yet."""
        end = self.new()
        self.moves[start] = (chars, end)
        return end

    def choice(self, parts: Sequence[Part], start: int) -> int:
        """One of several parts."""
        end = self.new()
        for part in parts:
            self.empty[part(self.after(start))].append(end)
        return end

    def repeat(self, part: Part, low: int, high: int | None, start: int) -> int:
        """A part ``low`` to ``high`` times, None for any number of times."""
        for _ in range(low):
            start = part(self.after(start))
        end = self.new()
        if high is None:
            first = self.after(start)
            self.empty[part(self.after(first))].append(first)
            self.empty[first].append(end)
            return end
        for _ in range(high - low):
            self.empty[start].append(end)
            start = part(self.after(start))
        self.empty[start].append(end)
        return end

    def closure(self, nodes: Sequence[int]) -> frozenset[int]:
        """The nodes that empty transitions lead to, of which only those with a move or at the end matter."""
        found, waiting = set(nodes), list(nodes)
        while waiting:
            for other in self.empty[waiting.pop()]:
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return frozenset(found)


def deterministic(nodes: Nodes, end: int) -> Automaton:
    """The smallest deterministic automaton over bytes of the texts that lead from the first node to ``end``.

    Reference:
        Rabin and Scott, "Finite Automata and Their Decision Problems", 1959, definition 11 (subsets as states).
    """
    classes, rows, ends = _subsets(nodes, end)
    table = _to_bytes(classes, rows)
    return minimal(table, np.pad(ends, (0, len(table) - len(ends))), 0)


class _Classes(NamedTuple):
    """Ranges of characters that no item of a pattern tells apart: each from its first code point to the next one's."""

    first: list[int]

    def of(self, code: int) -> int:
        return bisect.bisect_right(self.first, code) - 1


def _subsets(nodes: Nodes, end: int) -> tuple[_Classes, Int[np.ndarray, "state class"], np.ndarray]:
    """The deterministic automaton over classes of characters: their firsts, the states after each, and the ends."""
    moves = [move for move in nodes.moves if move is not None]
    edges = {0, 0x80, 0x800, 0x10000, _SURROGATES[0], _SURROGATES[1] + 1}
    edges |= {edge for chars, _ in moves for low, high in chars for edge in (low, high + 1)}
    classes = _Classes(sorted(edge for edge in edges if edge <= LAST))
    held = dict[Chars, list[int]]()
    for chars, _ in moves:
        if chars not in held:
            held[chars] = [
                number
                for low, high in chars
                for number in range(classes.of(low), classes.of(high) + 1)
                if not _SURROGATES[0] <= classes.first[number] <= _SURROGATES[1]
            ]
    first = nodes.closure([0])
    states, order, rows = {first: 0}, [first], list[np.ndarray]()
    for state in order:
        targets = dict[int, set[int]]()
        for node in state:
            if (move := nodes.moves[node]) is not None:
                for number in held[move[0]]:
                    targets.setdefault(number, set()).add(move[1])
        row = np.full(len(classes.first), -1, np.int32)
        known = dict[frozenset[int], int]()
        for number, found in targets.items():
            key = frozenset(found)
            if key not in known:
                after = nodes.closure(list(key))
                if after not in states:
                    states[after] = len(order)
                    order.append(after)
                    check_size(len(order), _FACTOR)
                known[key] = states[after]
            row[number] = known[key]
        rows.append(row)
    return classes, np.stack(rows), np.array([end in state for state in order])


def _to_bytes(classes: _Classes, rows: Int[np.ndarray, "state class"]) -> Int[np.ndarray, "all_states 256"]:
    """The automaton over the bytes of UTF-8: further states stand for the first bytes of a character.

    Reference:
        Cox, "Regular Expression Matching in the Wild", 2010, "Step 3: UTF-8".
    """
    table = list[np.ndarray]()
    numbers = dict[tuple[int, ...], int]()

    def state_of(children: Sequence[int]) -> int:
        """The state whose 64 continuation bytes lead to these."""
        key = tuple(children)
        if all(child < 0 for child in key):
            return -1
        if key not in numbers:
            numbers[key] = len(rows) + len(table)
            table.append(np.array([-1] * 128 + list(key) + [-1] * 64, np.int32))
            check_size(len(rows) + len(table), _FACTOR)
        return numbers[key]

    def after(row: list[int], low: int, size: int, least: int) -> int:
        """The state after the bytes of a character that leave ``size`` code points from ``low`` on."""
        first, last = classes.of(low), classes.of(min(low + size - 1, LAST))
        targets = {row[number] for number in range(first, last + 1)}
        if low + size <= least or low > LAST or targets == {-1}:
            return -1
        if size == 1:
            return row[first]
        if len(targets) == 1 and low >= least and low + size - 1 <= LAST:
            child = after(row, low, size // 64, least)
            return state_of([child] * 64)
        return state_of([after(row, low + i * (size // 64), size // 64, least) for i in range(64)])

    def leads(row: list[int]) -> Iterator[tuple[int, int]]:
        yield from ((byte, row[classes.of(byte)]) for byte in range(0x80))
        yield from ((0xC0 + i, after(row, i << 6, 1 << 6, 0x80)) for i in range(2, 32))
        yield from ((0xE0 + i, after(row, i << 12, 1 << 12, 0x800)) for i in range(16))
        yield from ((0xF0 + i, after(row, i << 18, 1 << 18, 0x10000)) for i in range(5))

    own = np.full((len(rows), 256), -1, np.int32)
    for state, row in enumerate(rows.tolist()):
        for byte, target in leads(row):
            own[state, byte] = target
    return np.concatenate([own, *(each[None] for each in table)]) if table else own
