"""Automata of regular expressions allow what Python's ``re`` matches, and nothing else."""

import itertools
import re

import numpy as np
import pytest

from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.lift import lift
from aigc_jax.rules.regex import regex
from aigc_jax.types import UsageError
from benchmarks import rules as benchmark

PATTERNS = {
    # Patterns of which a released package lost strings.
    "(a?b)+": "ab",
    "(a{0,2}b){1,2}": "ab",
    "a*b(a*b)*": "ab",
    "(ab|a)(bc|c)?": "abc",
    "a?b(a?b)?": "ab",
    "(-?(0|[1-9][0-9]?),?){1,3}": "-019,",
    r"([A-B][a-b]{0,2}\n){1,2}": "ABab\n",
    "[^a]*": "abc",
    "(?i)aB*": "aAbB",
    "(?:a(?i:B))*": "abAB",
    "a|": "ab",
    "()": "a",
    "(a|b)*a(a|b){3}": "ab",
    "^a+b$": "ab",
    "^a$|^(b|ba$)": "ab",
    "(a|(b$))": "ab",
    "[a-c]+?b": "abcd",
    r"\w+\d?": "a_1-",
    r"[\s\d]*a": "a1 \n",
    "(a|ab)(c|bcd)(d*)": "abcd",
    "(a*)*b": "ab",
    ".": "a\n",
    "(?s:.)": "a\n",
    r"[^\W\d]": "a1_-",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_allows_what_re_matches(pattern):
    """All texts of up to six letters."""
    automaton, compiled = regex(pattern), re.compile(pattern, re.ASCII)
    for length in range(7):
        for letters in itertools.product(PATTERNS[pattern], repeat=length):
            text = "".join(letters)
            assert accepts(automaton, text.encode()) == bool(compiled.fullmatch(text)), text


@pytest.mark.parametrize("pattern", benchmark.PATTERNS)
def test_regex_of_practice_is_that_of_re(pattern, rng):
    """Texts drawn from the automaton, and the same with one character more, less or exchanged."""
    automaton, compiled = regex(pattern), re.compile(pattern, re.ASCII)
    lifted = lift(automaton, [bytes([byte]) for byte in range(256)])
    for _ in range(10):
        state, text = lifted.start, b""
        while not (lifted.accepts[state] and (rng.random() < 0.1 or lifted.need[state].min() > 400)):
            left = lifted.need[state, lifted.kinds]
            # Long texts go straight to their end.
            byte = int(rng.choice(np.flatnonzero(left < 2**30 if len(text) < 40 else left == left.min())))
            state, text = lifted.next[state, lifted.kinds[byte]], text + bytes([byte])
        assert compiled.fullmatch(text.decode()), text
        place, other = int(rng.integers(len(text.decode()) + 1)), rng.choice([*"a0 .,\n(é"])
        for changed in (text.decode()[:place] + other, text.decode()[:place]):
            for rest in (text.decode()[place:], text.decode()[place + 1 :]):
                expected = bool(compiled.fullmatch(changed + rest))
                assert accepts(automaton, (changed + rest).encode()) == expected, changed + rest


def test_regex_of_other_scripts_is_that_of_re(rng):
    pattern = "[^é漢]*(é|😀)+[β-ω]?"
    automaton, compiled = regex(pattern), re.compile(pattern)
    codes = [*map(ord, "é漢😀βaé😀"), *rng.integers(0xD800, size=20), *rng.integers(0xE000, 0x110000, size=20)]
    matched = 0
    for _ in range(3000):
        text = "".join(chr(code) for code in rng.choice(codes, rng.integers(5)))
        matched += bool(compiled.fullmatch(text))
        assert accepts(automaton, text.encode()) == bool(compiled.fullmatch(text)), text
    assert matched > 100


@pytest.mark.parametrize(
    "broken", [b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xff", b"\xc3"]
)
def test_regex_of_any_text_refuses_what_is_no_utf8(broken):
    with pytest.raises(UnicodeDecodeError):
        broken.decode()
    assert not accepts(regex("(?s:.*)"), broken)


@pytest.mark.parametrize(("pattern", "num_states"), [("a*", 1), ("(ab)*", 2), ("a{7}", 8), ("(a|b)*a(a|b){4}", 32)])
def test_regex_is_minimal(pattern, num_states):
    assert regex(pattern).num_states == num_states


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "is broken"),
        ("[b-a]", "bad character range"),
        ("a(?=b)", "assert, which no automaton"),
        (r"a\b", "at, which no automaton"),
        (r"(a)\1", "groupref, which no automaton"),
        ("a^b", "at, which no automaton"),
        ("(a$|b)c", "at, which no automaton"),
        ("a(b$)*", "at, which no automaton"),
        ("(?:a" * 450 + ")*" * 450, "is broken (maximum recursion depth"),
        ("(?u)a", "is broken (ASCII and UNICODE flags"),
        ("a{5000}", "more than 4096 states"),
        ("(a|b)*a(a|b){25}", "more than 32768 states"),
        ("((a{999}){999}){999}", "too large"),
        (r"[^\x00-\U0010ffff]", "no text at all"),
    ],
)
def test_regex_refuses_in_one_line(pattern, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        regex(pattern)
    assert "\n" not in str(caught.value)
