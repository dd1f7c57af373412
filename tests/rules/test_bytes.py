"""The algebra of languages, on all short texts."""

import itertools

import numpy as np
import pytest

from aigc_jax.rules.bytes import accepts, complement, first_violation, intersection, minimal, union
from aigc_jax.rules.regex import regex
from aigc_jax.types import UsageError

TEXTS = ["".join(letters).encode() for length in range(6) for letters in itertools.product("abc", repeat=length)]
PAIRS = [("a*b*", "(a|b)*b"), ("(ab|c)*", "[^c]*"), ("a.*", ".*a"), ("(aa)*", "(aaa)*")]


def language(automaton):
    return {text for text in TEXTS if accepts(automaton, text)}


@pytest.mark.parametrize("pair", PAIRS)
def test_products_are_conjunction_and_disjunction(pair):
    first, second = map(regex, pair)
    assert language(intersection(first, second)) == language(first) & language(second)
    assert language(union(first, second)) == language(first) | language(second)
    assert language(complement(first)) == set(TEXTS) - language(first)


@pytest.mark.parametrize("pair", PAIRS)
def test_products_obey_de_morgan(pair):
    first, second = map(regex, pair)
    one = intersection(first, second)
    other = complement(union(complement(first), complement(second)))
    # Minimal automata that are numbered alike are equal where their languages are.
    np.testing.assert_array_equal(one.next, other.next)
    np.testing.assert_array_equal(one.accepts, other.accepts)


def test_minimal_merges_states_and_drops_dead_ones():
    """A cycle of six states in which every third may end is one of three."""
    following = np.full((7, 256), -1)
    following[np.arange(6), ord("a")] = (np.arange(6) + 1) % 6
    following[0, ord("b")] = 6  # from there no text ends
    found = minimal(following, np.array([True, False, False] * 2 + [False]), 0)
    assert found.num_states == 3
    assert (found.next[:, ord("b")] == -1).all()


def test_empty_languages_are_refused():
    with pytest.raises(UsageError, match="no text at all"):
        intersection(regex("a"), regex("b"))


def test_first_violation_is_the_first_byte_that_no_text_has():
    rule = regex("abc|ad")
    assert [first_violation(rule, text) for text in (b"ab", b"abd", b"b", b"abca")] == [None, 2, 0, 3]
