"""A set of texts as the smallest automaton."""

import itertools

import numpy as np
import pytest

from aigc_jax.rules.bytes import accepts, minimal
from aigc_jax.rules.statements import statements
from aigc_jax.types import UsageError


def test_statements_allow_these_texts_alone_and_are_minimal(rng):
    every = ["".join(letters) for length in range(6) for letters in itertools.product("abc", repeat=length)]
    for size in (1, 7, 60, 300):
        chosen = set(rng.choice(every, size).tolist())
        found = statements(chosen)
        assert {text for text in every if accepts(found, text.encode())} == chosen
        assert found.num_states == minimal(found.next, found.accepts, found.start).num_states


def test_statements_share_beginnings_and_ends():
    names, kinds = ("Ann", "Bob", "Cleo"), ("mother", "father")
    found = statements(f"{a} is the {kind} of {b}." for a in names for kind in kinds for b in names)
    # Bytes of the names, of what is shared between them, and of the two kinds, which end in "ther".
    assert found.num_states < 60
    assert accepts(found, b"Cleo is the father of Ann.")
    assert not accepts(found, b"Cleo is the father of")


def test_no_statements_are_refused():
    with pytest.raises(UsageError, match="at least one statement"):
        statements([])


def test_a_half_character_is_refused():
    with pytest.raises(UsageError, match="half a character"):
        statements(["a", "b\ud800"])


def test_statements_hold_the_empty_text():
    found = statements(["", "a"])
    assert accepts(found, b"")
    assert np.flatnonzero(found.next[found.start] >= 0).tolist() == [ord("a")]
