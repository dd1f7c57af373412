"""A finite set of texts as the smallest automaton that allows these and no other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from aigc_jax.rules.bytes import check_size
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton


def statements(texts: Iterable[str]) -> Automaton:
    """The minimal acyclic automaton of a set of texts, built text by text in their order.

    Raises:
        UsageError: there is no text, one is no Unicode, or they take too many states.

    Reference:
        Daciuk, Mihov, Watson, Watson, "Incremental Construction of Minimal Acyclic Finite-State Automata", 2000,
        algorithm 1.

    >>> statements(["the cat sleeps", "the dog sleeps"]).num_states
    17
    """
    try:
        known = sorted({text.encode() for text in texts})
    except UnicodeEncodeError as error:
        raise UsageError(f"a statement holds {error.object[error.start]!r}, half a character: leave it out") from error
    if not known:
        raise UsageError("expected at least one statement, got none: give a file with one a line")
    # A state is (may end here, ((byte, state), ...)); the states of the last text may still change.
    path: list[tuple[bool, list[tuple[int, int]]]] = [(False, [])]
    register = dict[tuple[bool, tuple[tuple[int, int], ...]], int]()
    last = b""

    def freeze(depth: int) -> None:
        """Number the states below a depth of the path, each as an equal one that is known."""
        while len(path) > depth + 1:
            may_end, following = path.pop()
            number = register.setdefault((may_end, tuple(following)), len(register))
            check_size(len(register))
            path[-1][1].append((last[len(path) - 1], number))

    for text in known:
        pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text, last, strict=False))
        common = len(list(pairs))
        freeze(common)
        path += [(False, []) for _ in range(len(text) - common)]
        path[-1] = (True, path[-1][1])
        last = text
    freeze(0)
    table = np.full((len(register) + 1, 256), -1, np.int32)
    ends = np.zeros(len(register) + 1, bool)
    rows = [*register, (path[0][0], tuple(path[0][1]))]
    for state, (may_end, following) in enumerate(rows):
        ends[state] = may_end
        for byte, target in following:
            table[state, byte] = target
    return Automaton(table, ends, len(rows) - 1)
