"""Forbidden and required words, against ``re`` on generated lines."""

import re
import unicodedata

import pytest

from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.words import forbid, require
from aigc_jax.types import UsageError

WORDS = ["knave", "ass", "foul fiend", "Übel"]
LETTER = r"[\w\u0080-\U0010ffff]"
PIECES = [*WORDS, "KNAVE", "Ass", "ÜBEL", "s", "es", "x", "cl", "é", " ", " ", ", ", "\n", "'", "_"]


def pattern_of(words):
    plain = "|".join(map(re.escape, words)).replace("Übel", "[üÜ][bB][eE][lL]")
    return re.compile(rf"(?is)(?<!{LETTER})(?:{plain})(?:e?s)?(?!{LETTER})", re.ASCII)


def lines(rng, pieces=PIECES):
    return ["".join(rng.choice(pieces, rng.integers(7))) for _ in range(4000)]


def test_forbid_excludes_whole_words_in_any_case_and_their_plurals(rng):
    rule, compiled = forbid(WORDS), pattern_of(WORDS)
    found = 0
    for line in lines(rng):
        holds = bool(compiled.search(line))
        found += holds
        assert accepts(rule, line.encode()) != holds, line
    assert 500 < found < 3500


def test_require_takes_each_word(rng):
    rule, compiled = require(WORDS[:2]), [pattern_of([word]) for word in WORDS[:2]]
    found = 0
    for line in lines(rng, ["knave", "Asses", "ass", " ", ", ", "s"]):
        holds = all(each.search(line) for each in compiled)
        found += holds
        assert accepts(rule, line.encode()) == holds, line
    assert found > 100


def test_words_end_at_punctuation_beyond_ascii():
    rule = forbid(["bad"])
    for mark in "\u00ab\u00bb\u00a0\u2013\u2018\u2019\u201c\u201d\u2026\u20ac\u3000\u3002\uff01\uff0c\U0001f600":
        assert unicodedata.category(mark)[0] in "PSZ"
        for text in (f"{mark}bad", f"bad{mark}", f"so {mark}Bads{mark}.", f"é{mark}bad"):
            assert not accepts(rule, text.encode()), text
        assert accepts(rule, f"{mark}badge{mark}".encode())
    # What hides a word from a search: a mark, a character without width, one that is not assigned, one of private use.
    for hidden in "\u0301\u0317\u200b\u2060\U0007010e\ue000\U000f0000":
        assert unicodedata.category(hidden)[0] in "MC"
        assert not accepts(rule, f"bad{hidden}x".encode())
    for letter in "éßλ漢\u0436\u304b":
        assert unicodedata.category(letter)[0] == "L"
        assert accepts(rule, f"bad{letter}".encode())


def test_forbidden_words_are_all_those_that_re_finds():
    """Each character after a word, of all that UTF-8 writes with up to three bytes, and some beyond."""
    rule, found = forbid(["bad"]), 0
    for code in [*range(0x20, 0xD800), *range(0xE000, 0x10000), 0x10300, 0x1F600, 0x7010E, 0x10FFFF]:
        if re.search(r"\bbad\b", f"bad{chr(code)}") or not chr(code).isalnum():
            assert not accepts(rule, f"bad{chr(code)}".encode()) or chr(code) == "_", hex(code)
        else:
            found += accepts(rule, f"bad{chr(code)}".encode())
    assert found > 40_000


@pytest.mark.parametrize("words", [[], [""], ["a", " "]])
@pytest.mark.parametrize("rule", [forbid, require])
def test_words_that_are_none_are_refused(rule, words):
    with pytest.raises(UsageError, match=r"got (an empty one|none)"):
        rule(words)
