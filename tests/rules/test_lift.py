"""The automaton over tokens spells the texts of that over bytes, and knows how many tokens are left."""

import itertools

import pytest

from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.lift import lift
from aigc_jax.rules.regex import regex
from aigc_jax.types.rules import NEVER

VOCABULARY = [b"a", b"b", b"ab", b"ba", "é".encode()[:1], "é".encode()[1:], b""]
LENGTH = 4


def allowed(automaton, tokens, length):
    """Whether a constrained sampler of ``length`` tokens can draw these, and end."""
    state = automaton.start
    for place, token in enumerate(tokens):
        kind = automaton.kinds[token]
        if automaton.need[state, kind] >= length - place:
            return False
        state = automaton.next[state, kind]
    return bool(automaton.accepts[state])


@pytest.mark.parametrize("pattern", ["(a|b)*a", "(ab)+", "é?a{2}", "b(aab)*", "a{3}|b{5}", "(é|ab)*"])
def test_lift_allows_the_sequences_of_tokens_that_spell_an_allowed_text(pattern):
    rule = regex(pattern)
    automaton = lift(rule, VOCABULARY)
    shortest = NEVER
    for length in range(LENGTH + 1):
        for tokens in itertools.product(range(len(VOCABULARY) - 1), repeat=length):
            spelled = b"".join(VOCABULARY[token] for token in tokens)
            is_allowed = accepts(rule, spelled)
            assert allowed(automaton, tokens, LENGTH) == is_allowed
            shortest = min(shortest, length) if is_allowed else shortest
    assert automaton.length == shortest


def test_lift_of_a_rule_that_the_vocabulary_cannot_spell_never_ends():
    assert lift(regex("ac"), VOCABULARY).length >= NEVER


def test_tokens_that_spell_nothing_are_not_allowed():
    automaton = lift(regex("a*"), VOCABULARY)
    assert automaton.next[automaton.start, automaton.kinds[-1]] == -1


def test_kinds_are_fewer_than_tokens():
    assert lift(regex("[a-b]*"), VOCABULARY).next.shape[1] < len(VOCABULARY)
