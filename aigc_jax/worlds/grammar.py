"""World of three small languages whose texts are right or wrong: brackets, sums of two numbers, and JSON.

Brackets of two kinds need a stack, "([])[]"; sums a carry, "47+85=132"; JSON both kinds of structure,
'{"a":12,"c":[3,4]}'. A token is a character. The probability of each text is exact, by the grammar's own weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from aigc_jax.types import World
from aigc_jax.worlds.automata import WeightedAutomaton, automaton_world, compiled_automaton

LENGTH = 32
"""Tokens of a text after its first one."""

LANGUAGES = ("brackets", "sums", "json")
VIOLATIONS = ("valid", "wrong result", "unfinished", "malformed")
"""Only sums have results; brackets deeper than 4 or longer than 24 are malformed, as all else that is not written."""

ALPHABET = '()[]0123456789+={}":,abcnultrefs'

MAX_DEPTH, MAX_BRACKETS = 4, 24

KEYS = "abc"
CONSTANTS = ("true", "false", "null")
"""Of the values of JSON three in ten; four are numbers from 0 to 99, three lists of one or two digits."""

_DIGITS = "0123456789"
_PAIRS = {"(": ")", "[": "]"}
_WRONG, _UNFINISHED = VIOLATIONS.index("wrong result"), VIOLATIONS.index("unfinished")

_State = tuple[str, ...]
_Moves = dict[str, tuple[float, _State]]


class _Node(NamedTuple):
    """A state's characters, each with its probability and the state after it; and the end of the text there."""

    moves: _Moves
    end: float = 0.0
    outcome: int = _UNFINISHED


def grammar(*, name: str = "world:grammar") -> World:
    """World of brackets, sums and JSON, a third of each.

    Returns:
        The world; its examples are int32 [N, 33], its modes the languages.

    >>> import jax
    >>> world = grammar()
    >>> row = world.sample(jax.random.key(0), 1, jax.numpy.array([1]))[0]
    >>> b"".join(world.vocabulary[token] for token in row if 0 <= token < len(world.vocabulary))
    b'99+30=129'
    """
    return automaton_world(
        name,
        grammar_automaton(),
        length=LENGTH,
        mode_names=LANGUAGES,
        violations=VIOLATIONS,
        vocabulary=[character.encode() for character in ALPHABET],
        attribute="language",
    )


@functools.cache
def grammar_automaton() -> WeightedAutomaton:
    """The three languages as one automaton, of a start each."""

    def following(state: _State) -> dict[int, tuple[float, _State]]:
        return {ALPHABET.index(character): move for character, move in _node(state).moves.items()}

    def end(state: _State) -> tuple[float, int]:
        node = _node(state)
        return node.end, node.outcome

    starts = [("brackets", "", ""), ("sums", "first", ""), ("json", "start")]
    return compiled_automaton(starts, following, end, len(ALPHABET))


def _node(state: _State) -> _Node:
    return {"brackets": _brackets, "sums": _sums, "json": _json}[state[0]](*state[1:])


def _brackets(stack: str, written: str) -> _Node:
    """A bracket is closed with probability 1/2, and a text ends so where none is open; ``written`` counts by length."""
    num = len(written)
    can_open = len(stack) < MAX_DEPTH and num + len(stack) + 2 <= MAX_BRACKETS
    share = 0.0 if not can_open else 0.5 if num else 1.0
    moves: _Moves = {
        opened: (share / 2, ("brackets", stack + closed, written + "."))
        for opened, closed in _PAIRS.items()
        if can_open
    }
    if stack:
        moves[stack[-1]] = 1.0 - share, ("brackets", stack[:-1], written + ".")
        return _Node(moves)
    return _Node(moves, 1.0 - share, 0 if num else _UNFINISHED)


def _number(digits: str, rest: _Moves, more: Callable[[str], _State]) -> _Moves:
    """The characters after some digits of a number that is uniform in 0 to 99, before ``rest`` follows it."""
    if not digits:
        return {digit: (0.01 if digit == "0" else 0.11, more(digit)) for digit in _DIGITS}
    if digits == "0" or len(digits) == 2:
        return rest
    again = {digit: (1 / 11, more(digits + digit)) for digit in _DIGITS}
    return again | {character: (weight / 11, state) for character, (weight, state) in rest.items()}


def _sums(part: str, *given: str) -> _Node:
    """Two numbers, uniform in 0 to 99, and the digits of their sum; other digits are a wrong result."""
    if part == "first":
        (digits,) = given
        return _Node(
            _number(digits, {"+": (1.0, ("sums", "second", digits, ""))}, lambda more: ("sums", "first", more))
        )
    if part == "second":
        first, digits = given
        total = str(int(first) + int(digits or "0"))
        rest: _Moves = {"=": (1.0, ("sums", "result", total, ""))}
        return _Node(_number(digits, rest, lambda more: ("sums", "second", first, more)))
    if part == "wrong":
        (more,) = given
        return _Node({digit: (0.0, ("sums", "wrong", more[1:])) for digit in _DIGITS if more}, 0.0, _WRONG)
    total, digits = given
    num = len(digits)
    is_done = digits == total
    # A wrong number has up to three digits, and begins with 0 only where it is 0.
    left = {digit: "" if digit == "0" and not num else "." * (2 - num) for digit in _DIGITS}
    moves: _Moves = {digit: (0.0, ("sums", "wrong", more)) for digit, more in left.items() if num < 3 and digits != "0"}
    if not is_done:
        moves[total[num]] = 1.0, ("sums", "result", total, digits + total[num])
    return _Node(moves, float(is_done), 0 if is_done else _WRONG if num else _UNFINISHED)


def _json(part: str, key: str = "", given: str = "") -> _Node:
    """An object of some of the keys, in order; after each value but the last key's it ends with probability 1/2."""
    at = KEYS.find(key) if key else -1
    is_last = at == len(KEYS) - 1
    after: _Moves = {"}": (1.0 if is_last else 0.5, ("json", "done"))}
    if not is_last:
        after[","] = 0.5, ("json", "quote", key)
    simple: dict[str, tuple[str, _State]] = {
        "start": ("{", ("json", "quote")),
        "quote": ('"', ("json", "key", key)),
        "named": ('"', ("json", "colon", key)),
        "colon": (":", ("json", "value", key)),
    }
    if part == "done":
        return _Node({}, 1.0, 0)
    if part in simple:
        character, state = simple[part]
        return _Node({character: (1.0, state)})
    if part == "key":
        keys = KEYS[at + 1 :]
        return _Node({each: (1 / len(keys), ("json", "named", each)) for each in keys})
    if part == "number" or (part == "word" and not given):
        return _Node(_number(given, after, lambda more: ("json", "number", key, more)) if given else after)
    if part == "word":
        return _Node({given[0]: (1.0, ("json", "word", key, given[1:]))})
    if part == "item":
        return _Node({digit: (0.1, ("json", "list", key, given + ".")) for digit in _DIGITS})
    if part == "list":
        moves: _Moves = {"]": (0.5 if given == "." else 1.0, ("json", "word", key, ""))}
        return _Node(moves | ({",": (0.5, ("json", "item", key, "."))} if given == "." else {}))
    values: _Moves = {word[0]: (0.1, ("json", "word", key, word[1:])) for word in CONSTANTS}
    numbers = _number("", {}, lambda more: ("json", "number", key, more))
    values |= {digit: (0.4 * weight, state) for digit, (weight, state) in numbers.items()}
    return _Node(values | {"[": (0.3, ("json", "item", key, ""))})
