"""Regular expressions as automata over bytes: the syntax of Python's ``re``, by Python's own parser.

The language is that of ``re.fullmatch(pattern, text, re.ASCII)``, over all Unicode texts.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from re import _constants as op  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.rules.bytes import check_size, minimal
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

Chars = tuple[tuple[int, int], ...]
"""A set of characters as ranges of code points, in order and apart."""

_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_MAX_NODES = 200_000
_FACTOR = 8
"""How many times as large as a minimal automaton one may be on the way there."""

_DIGITS: Chars = ((48, 57),)
_SPACES: Chars = ((9, 13), (32, 32))
_WORDS: Chars = ((48, 57), (65, 90), (95, 95), (97, 122))


def regex(pattern: str) -> Automaton:
    r"""The automaton of a regular expression that a whole text matches.

    Args:
        pattern: in the syntax of ``re``; ``\w``, ``\d``, ``\s`` and ``(?i)`` are of ASCII. Without look-ahead and
            look-behind, references to groups, and boundaries of words.

    Raises:
        UsageError: the pattern is broken, has what no automaton can do, allows no text, or takes too many states.

    Reference:
        Thompson, "Regular Expression Search Algorithm", 1968; Rabin and Scott, "Finite Automata and Their Decision
        Problems", 1959, definition 11 (subsets as states).

    >>> regex("(ab)*").num_states
    2
    """
    try:
        parsed, nodes = _parser.parse(pattern, re.ASCII), _Nodes(pattern)
        end = nodes.add(parsed, 0, parsed.state.flags, is_tail=True)
    except UsageError:
        raise
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"the regular expression {_shown(pattern)} is broken ({error}): mend it") from error
    classes, rows, ends = _subsets(nodes, end)
    table = _to_bytes(classes, rows)
    return minimal(table, np.pad(ends, (0, len(table) - len(ends))), 0)


class _Nodes:
    """A non-deterministic automaton with empty transitions, as of Thompson."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.empty: list[list[int]] = [[]]
        self.moves: list[tuple[Chars, int] | None] = [None]

    def new(self) -> int:
        """Another node."""
        if len(self.empty) >= _MAX_NODES:
            raise UsageError(
                f"the regular expression {_shown(self.pattern)} is too large: shorten counted repetitions such as "
                "{100}"
            )
        self.empty.append([])
        self.moves.append(None)
        return len(self.empty) - 1

    def add(self, items: Any, start: int, flags: int, is_tail: bool = False) -> int:
        """The nodes of a sequence, from ``start`` on, which nothing follows in a tail; returns its end."""
        items = list(items)
        for place, (kind, value) in enumerate(items):
            # A whole match begins at ^ and ends at $.
            is_last = is_tail and place == len(items) - 1
            is_first = value is op.AT_BEGINNING and place == 0 and start == 0
            if not (kind is op.AT and (is_first or (is_last and value is op.AT_END))):
                start = self._add(kind, value, start, flags, is_last)
        return start

    def _add(self, kind: Any, value: Any, start: int, flags: int, is_tail: bool) -> int:
        if kind is op.BRANCH:
            end = self.new()
            for choice in value[1]:
                first = self.new()
                self.empty[start].append(first)
                self.empty[self.add(choice, first, flags, is_tail)].append(end)
            return end
        if kind is op.SUBPATTERN:
            _, added, removed, items = value
            return self.add(items, start, (flags | added) & ~removed, is_tail)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, repeated = value
            return self._repeat(low, high, repeated, start, flags)
        chars = _chars(kind, value, flags)
        if chars is None:
            raise UsageError(
                f"the regular expression {_shown(self.pattern)} has {str(kind).lower().replace('_', ' ')}, which no "
                "automaton can do: use characters, classes, groups, | and repetitions alone"
            )
        end = self.new()
        self.moves[start] = (chars, end)
        return end

    def _repeat(self, low: int, high: Any, items: Any, start: int, flags: int) -> int:
        for _ in range(low):
            start = self.add(items, self._after(start), flags)
        end = self.new()
        if high is op.MAXREPEAT:
            first = self._after(start)
            self.empty[self.add(items, self._after(first), flags)].append(first)
            self.empty[first].append(end)
            return end
        for _ in range(high - low):
            self.empty[start].append(end)
            start = self.add(items, self._after(start), flags)
        self.empty[start].append(end)
        return end

    def _after(self, start: int) -> int:
        """A new node that an empty transition leads to."""
        node = self.new()
        self.empty[start].append(node)
        return node

    def closure(self, nodes: Sequence[int]) -> frozenset[int]:
        """The nodes that empty transitions lead to, of which only those with a move or at the end matter."""
        found, waiting = set(nodes), list(nodes)
        while waiting:
            for other in self.empty[waiting.pop()]:
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return frozenset(found)


def _chars(kind: Any, value: Any, flags: int) -> Chars | None:
    """The characters that one item of a pattern stands for; None for what is none."""
    if kind is op.ANY:
        return ((0, _LAST),) if flags & re.DOTALL else _complement(((10, 10),))
    if kind is op.LITERAL:
        return _folded(((value, value),), flags)
    if kind is op.NOT_LITERAL:
        return _complement(_folded(((value, value),), flags))
    if kind is not op.IN:
        return None
    ranges = list[tuple[int, int]]()
    is_negated = False
    for item, content in value:
        if item is op.NEGATE:
            is_negated = True
        elif item is op.LITERAL:
            ranges.append((content, content))
        elif item is op.RANGE:
            ranges.append(content)
        else:
            ranges.extend(_CATEGORIES[content])
    found = _folded(_joined(ranges), flags)
    return _complement(found) if is_negated else found


def _joined(ranges: Sequence[tuple[int, int]]) -> Chars:
    found = list[tuple[int, int]]()
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def _complement(chars: Chars) -> Chars:
    edges = [-1, *(edge for low, high in chars for edge in (low, high)), _LAST + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in pairs if low + 1 <= high - 1)


def _folded(chars: Chars, flags: int) -> Chars:
    """With the other case of ASCII letters, where case is ignored."""
    if not flags & re.IGNORECASE:
        return chars
    letters = [ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
    held = {code for code in (*letters, *(code - 32 for code in letters)) if any(a <= code <= b for a, b in chars)}
    return _joined([*chars, *((code ^ 32, code ^ 32) for code in held)])


_CATEGORIES: dict[Any, Chars] = {
    op.CATEGORY_DIGIT: _DIGITS,
    op.CATEGORY_NOT_DIGIT: _complement(_DIGITS),
    op.CATEGORY_SPACE: _SPACES,
    op.CATEGORY_NOT_SPACE: _complement(_SPACES),
    op.CATEGORY_WORD: _WORDS,
    op.CATEGORY_NOT_WORD: _complement(_WORDS),
}


class _Classes(NamedTuple):
    """Ranges of characters that no item of a pattern tells apart: each from its first code point to the next one's."""

    first: list[int]

    def of(self, code: int) -> int:
        return bisect.bisect_right(self.first, code) - 1


def _subsets(nodes: _Nodes, end: int) -> tuple[_Classes, Int[np.ndarray, "state class"], np.ndarray]:
    """The deterministic automaton over classes of characters: their firsts, the states after each, and the ends."""
    moves = [move for move in nodes.moves if move is not None]
    edges = {0, 0x80, 0x800, 0x10000, _SURROGATES[0], _SURROGATES[1] + 1}
    edges |= {edge for chars, _ in moves for low, high in chars for edge in (low, high + 1)}
    classes = _Classes(sorted(edge for edge in edges if edge <= _LAST))
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
        first, last = classes.of(low), classes.of(min(low + size - 1, _LAST))
        targets = {row[number] for number in range(first, last + 1)}
        if low + size <= least or low > _LAST or targets == {-1}:
            return -1
        if size == 1:
            return row[first]
        if len(targets) == 1 and low >= least and low + size - 1 <= _LAST:
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


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:57] + "...")
