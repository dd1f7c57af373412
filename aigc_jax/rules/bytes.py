"""The algebra of languages: automata over bytes are combined, complemented and minimised.

Reference:
    Hopcroft, Motwani, Ullman, "Introduction to Automata Theory, Languages, and Computation", 2001, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

MAX_STATES = 4096
"""Most states of an automaton: with more its tables would not fit on a device."""


def accepts(automaton: Automaton, text: bytes) -> bool:
    """Whether a text is allowed.

    >>> from aigc_jax.rules.regex import regex
    >>> accepts(regex("a+b"), b"aab"), accepts(regex("a+b"), b"b")
    (True, False)
    """
    return first_violation(automaton, text) is None and bool(automaton.accepts[state_after(automaton, text)])


def state_after(automaton: Automaton, text: bytes) -> int:
    """The state after a text; -1 where no allowed text begins so."""
    state = automaton.start
    for byte in text:
        if state < 0:
            break
        state = int(automaton.next[state, byte])
    return state


def first_violation(automaton: Automaton, text: bytes) -> int | None:
    """The place of the first byte with which no allowed text can begin; None where there is none."""
    state = automaton.start
    for place, byte in enumerate(text):
        state = int(automaton.next[state, byte])
        if state < 0:
            return place
    return None


def intersection(first: Automaton, second: Automaton) -> Automaton:
    """The texts that both allow.

    Raises:
        UsageError: there is none, or it takes too many states.
    """
    return _product(first, second, np.logical_and)


def union(first: Automaton, second: Automaton) -> Automaton:
    """The texts that either allows."""
    return _product(first, second, np.logical_or)


def complement(automaton: Automaton) -> Automaton:
    """The sequences of bytes that are not allowed, also such as are no UTF-8: intersect it with what is a text."""
    dead = automaton.num_states
    following = np.where(automaton.next < 0, dead, automaton.next)
    following = np.concatenate([following, np.full((1, 256), dead)]).astype(np.int32)
    return minimal(following, ~np.append(automaton.accepts, False), automaton.start)


def _product(first: Automaton, second: Automaton, both: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Automaton:
    """The automaton whose states are pairs, of those that are reached; -1 of either is a state too."""
    columns, kinds = np.unique(np.concatenate([first.next, second.next]), axis=1, return_inverse=True)
    tables = np.split(columns, [first.num_states])
    # A last row for the state -1, which indexing finds by itself.
    tables = [np.concatenate([table, np.full((1, table.shape[1]), -1)]) for table in tables]
    number = {(first.start, second.start): 0}
    pairs, rows = [(first.start, second.start)], list[np.ndarray]()
    while len(rows) < len(pairs):
        left, right = pairs[len(rows)]
        row = np.empty(columns.shape[1], np.int32)
        for column, pair in enumerate(zip(tables[0][left].tolist(), tables[1][right].tolist(), strict=True)):
            if pair not in number:
                number[pair] = len(pairs)
                pairs.append(pair)
            row[column] = number[pair]
        rows.append(row)
        check_size(len(pairs), 8)
    ends = [np.append(each.accepts, False) for each in (first, second)]
    left, right = np.array(pairs).T
    return minimal(np.stack(rows)[:, kinds.ravel()], both(ends[0][left], ends[1][right]), 0)


def check_size(num_states: int, factor: int = 1) -> None:
    """Refuse an automaton, or one that is not minimal yet and so may be ``factor`` times as large."""
    if num_states > factor * MAX_STATES:
        raise UsageError(
            f"the rule takes more than {factor * MAX_STATES} states: shorten counted repetitions such as {{100}}, or "
            "combine fewer rules"
        )


def minimal(following: Int[np.ndarray, "state 256"], ends: Bool[np.ndarray, " state"], start: int) -> Automaton:
    """The automaton with the fewest states of the same language, by refinement of partitions.

    States from which no text ends become -1; the others are numbered as they are reached.

    Args:
        following: the state after each byte, -1 for none.
        ends: whether a text may end in each state.
        start: the first state.

    Raises:
        UsageError: the language is empty, or too large.

    Reference:
        Hopcroft, "An n log n Algorithm for Minimizing States in a Finite Automaton", 1971.
    """
    columns, kinds = np.unique(following, axis=1, return_inverse=True)
    is_live = _live(columns, ends)
    if not is_live[start]:
        raise UsageError("the rule allows no text at all: its parts contradict each other, or it is empty")
    columns = np.where((columns >= 0) & is_live[columns], columns, -1)
    block = _blocks(columns, ends)
    num_blocks = int(block.max()) + 1
    # One state for each block, in the order of a breadth-first search.
    member = np.zeros(num_blocks, np.int64)
    member[block] = np.arange(len(block))
    order, number = [int(block[start])], {int(block[start]): 0}
    for found in order:
        for other in columns[member[found]].tolist():
            if other >= 0 and (name := int(block[other])) not in number:
                number[name] = len(order)
                order.append(name)
    check_size(len(order))
    lookup = np.full(num_blocks + 1, -1, np.int32)
    lookup[list(number)] = list(number.values())
    chosen = member[order]
    table = lookup[np.append(block, num_blocks)[columns[chosen]]]
    return Automaton(np.ascontiguousarray(table[:, kinds.ravel()], np.int32), ends[chosen], 0)


def _live(columns: Int[np.ndarray, "state kind"], ends: Bool[np.ndarray, " state"]) -> Bool[np.ndarray, " state"]:
    """The states from which a text may end."""
    source, kind = np.nonzero(columns >= 0)
    order = np.argsort(columns[source, kind], kind="stable")
    before, target = source[order], columns[source, kind][order]
    edge = np.searchsorted(target, np.arange(len(columns) + 1))
    is_live, waiting = ends.copy(), np.flatnonzero(ends).tolist()
    while waiting:
        state = waiting.pop()
        for other in before[edge[state] : edge[state + 1]].tolist():
            if not is_live[other]:
                is_live[other] = True
                waiting.append(other)
    return is_live


def _blocks(columns: Int[np.ndarray, "state kind"], ends: Bool[np.ndarray, " state"]) -> Int[np.ndarray, " state"]:
    """The number of each state's class of states with one and the same language, by Hopcroft's algorithm."""
    num_states = len(columns)
    dead = num_states
    whole = np.append(np.where(columns < 0, dead, columns), np.full((1, columns.shape[1]), dead), axis=0)
    # The states before each one, by the kind of byte: slices of one sorted array.
    orders = [np.argsort(column, kind="stable") for column in whole.T]
    edges = [
        np.searchsorted(column[order], np.arange(num_states + 2)).tolist()
        for column, order in zip(whole.T, orders, strict=True)
    ]
    before = [order.tolist() for order in orders]
    block = [int(is_end) for is_end in ends] + [0]
    members = [{i for i, own in enumerate(block) if own == number} for number in (0, 1)]
    waiting = {0, 1}
    while waiting:
        splitter = list(members[waiting.pop()])
        for order, edge in zip(before, edges, strict=True):
            touched = dict[int, set[int]]()
            for state in splitter:
                for other in order[edge[state] : edge[state + 1]]:
                    touched.setdefault(block[other], set()).add(other)
            for number, part in touched.items():
                if len(part) == len(members[number]):
                    continue
                rest = members[number] - part
                # The old number stays with the larger part, so that the smaller one is looked at again.
                small, members[number] = (part, rest) if len(part) <= len(rest) else (rest, part)
                members.append(small)
                for state in small:
                    block[state] = len(members) - 1
                waiting.add(len(members) - 1)
    return np.array(block[:-1])
