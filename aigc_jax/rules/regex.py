"""Regular expressions as automata over bytes: the syntax of Python's ``re``, by Python's own parser.

The language is that of ``re.fullmatch(pattern, text, re.ASCII)``, over all Unicode texts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from re import _constants as op  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from aigc_jax.rules.nodes import LAST, Chars, Nodes, deterministic
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

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
        Thompson, "Regular Expression Search Algorithm", 1968.

    >>> regex("(ab)*").num_states
    2
    """
    nodes = Nodes(f"the regular expression {_shown(pattern)}")
    return deterministic(nodes, add_pattern(nodes, pattern, 0, is_whole=True))


def add_pattern(nodes: Nodes, pattern: str, start: int, *, is_whole: bool = False) -> int:
    """The nodes of a regular expression after a node; of a whole text it may begin with ^ and end with $."""
    try:
        parsed = _parse(pattern)
        return _Pattern(nodes, pattern).add(parsed, start, parsed.state.flags, is_whole, is_whole)
    except UsageError:
        raise
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"the regular expression {_shown(pattern)} is broken ({error}): mend it") from error


@functools.lru_cache(256)
def _parse(pattern: str) -> Any:
    """A terminal of a grammar is parsed once, however often it occurs."""
    return _parser.parse(pattern, re.ASCII)


class _Pattern:
    """The nodes of what Python's parser makes of a pattern."""

    def __init__(self, nodes: Nodes, pattern: str) -> None:
        self.nodes, self.pattern = nodes, pattern

    def add(self, items: Any, start: int, flags: int, is_first: bool = False, is_last: bool = False) -> int:
        """A sequence, before and after which the text may have nothing else; returns its end."""
        items = list(items)
        for place, (kind, value) in enumerate(items):
            # A whole match begins at ^ and ends at $.
            at_first = is_first and place == 0
            at_last = is_last and place == len(items) - 1
            is_edge = (at_first and value is op.AT_BEGINNING) or (at_last and value is op.AT_END)
            if not (kind is op.AT and is_edge):
                start = self._add(kind, value, start, flags, (at_first, at_last))
        return start

    def _add(self, kind: Any, value: Any, start: int, flags: int, edges: tuple[bool, bool]) -> int:
        if kind is op.BRANCH:
            choices = [lambda node, items=items: self.add(items, node, flags, *edges) for items in value[1]]
            return self.nodes.choice(choices, start)
        if kind is op.SUBPATTERN:
            _, added, removed, items = value
            return self.add(items, start, (flags | added) & ~removed, *edges)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, repeated = value
            limit = None if high is op.MAXREPEAT else high
            return self.nodes.repeat(lambda node: self.add(repeated, node, flags), low, limit, start)
        chars = _chars(kind, value, flags)
        if chars is None:
            raise UsageError(
                f"the regular expression {_shown(self.pattern)} has {str(kind).lower().replace('_', ' ')}, which no "
                "automaton can do: use characters, classes, groups, | and repetitions alone"
            )
        return self.nodes.add(chars, start)


def _chars(kind: Any, value: Any, flags: int) -> Chars | None:
    """The characters that one item of a pattern stands for; None for what is none."""
    if kind is op.ANY:
        return ((0, LAST),) if flags & re.DOTALL else _complement(((10, 10),))
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
    edges = [-1, *(edge for low, high in chars for edge in (low, high)), LAST + 1]
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


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:57] + "...")
