"""Formulas over attributes that a text spells: the automaton of all texts whose values obey."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from aigc_jax.rules.bytes import check_size, minimal
from aigc_jax.rules.diagram import diagram
from aigc_jax.rules.formula import Formula
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton


def spelled(rule: Formula, attributes: Mapping[str, Sequence[str]], *, separator: str = " ") -> Automaton:
    """The texts of the values of all attributes in their order, that obey a formula: its mask for models of text.

    Args:
        rule: the formula.
        attributes: ``{name: how its values are spelled}``, those of the formula among others.
        separator: between two values.

    Raises:
        UsageError: no text obeys, the rule takes too many states, or a value with the separator begins another one.

    >>> from aigc_jax.rules.bytes import accepts
    >>> from aigc_jax.rules.formula import formula
    >>> sizes = {"a": ("1", "2", "10"), "b": ("1", "2", "10")}
    >>> found = spelled(formula("a + b == 12", sizes), sizes, separator="+")
    >>> [accepts(found, text) for text in (b"10+2", b"2+10", b"2+2")]
    [True, True, False]
    """
    levels = diagram(rule, attributes)
    names = [[value.encode() for value in values] for values in attributes.values()]
    for number in range(len(names) - 1):
        names[number] = [value + separator.encode() for value in names[number]]
        _check(list(attributes)[number], names[number])
    # A state: the attribute, its node in the diagram, and the bytes of its value so far.
    number = {(0, 0, b""): 0}
    states, rows, ends = [(0, 0, b"")], list[np.ndarray](), list[bool]()
    for level, node, begun in states:
        row, may_end = np.full(256, -1, np.int32), False
        for value in np.flatnonzero(levels[level][node] >= 0) if level < len(levels) else ():
            name = names[level][value]
            if not name.startswith(begun):
                continue
            if name == begun:  # of the last attribute, the only one whose values may begin others
                may_end = True
                continue
            longer = name[: len(begun) + 1]
            is_whole = longer == name and level + 1 < len(levels)
            state = (level + 1, int(levels[level][node, value]), b"") if is_whole else (level, node, longer)
            if state not in number:
                number[state] = len(states)
                states.append(state)
                check_size(len(states), 8)
            row[longer[-1]] = number[state]
        rows.append(row)
        ends.append(may_end)
    return minimal(np.stack(rows), np.array(ends), 0)


def _check(attribute: str, names: Sequence[bytes]) -> None:
    """Refuse values of which one begins another: where one ended would not be known."""
    rising = sorted(names)
    for first, second in itertools.pairwise(rising):
        if second.startswith(first):
            raise UsageError(
                f"the value {first.decode()!r} of {attribute}, with its separator, begins {second.decode()!r}: choose "
                "another separator"
            )
