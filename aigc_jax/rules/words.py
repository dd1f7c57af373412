"""Forbidden and required words: as whole words, in any case, singular and plural."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from aigc_jax.rules.bytes import complement, intersection
from aigc_jax.rules.regex import regex
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

_LETTERS = (
    r"\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02c1\u1e00-\u1f15"  # Latin
    r"\u0388-\u038a\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"  # Greek, Cyrillic
    r"\u05d0-\u05ea\u0620-\u064a\u0660-\u0669"  # Hebrew, Arabic
    r"\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff21-\uff3a\uff41-\uff5a"  # of East Asia
)
NO_LETTER = rf"[^\w{_LETTERS}]"
"""What ends a word: all but letters, digits and underscores of ASCII, and the letters of large alphabets beyond it.

Each of these is a letter or a digit for Python's ``re`` too, so that no mark, and no character without width, hides a
forbidden word. Next to letters of other scripts a word is forbidden likewise.
"""


def forbid(words: Sequence[str]) -> Automaton:
    """The texts that hold none of the words or phrases, whatever tokens spell them.

    Args:
        words: each as it stands in a text; another case, and a plural in s or es, are forbidden with it.

    Raises:
        UsageError: there is no word, or they take too many states.

    >>> from aigc_jax.rules.bytes import accepts
    >>> rule = forbid(["fox"])
    >>> [accepts(rule, text) for text in (b"Two Foxes.", b"foxglove")]
    [False, True]
    """
    return intersection(anything(), complement(_holding(words)))


def require(words: Sequence[str]) -> Automaton:
    """The texts that hold each of the words or phrases at least once.

    Raises:
        UsageError: there is no word, or they take too many states: as many as two to the number of words.

    >>> from aigc_jax.rules.bytes import accepts
    >>> [accepts(require(["fox", "dog"]), text) for text in (b"A fox, two dogs.", b"A fox.")]
    [True, False]
    """
    if not words:
        raise UsageError("expected a word to require, got none: name one")
    return functools.reduce(intersection, [_holding([word]) for word in words])


@functools.cache
def anything() -> Automaton:
    """All texts."""
    return regex("(?s:.*)")


def _holding(words: Sequence[str]) -> Automaton:
    """The texts that hold one of the words."""
    words = [word.strip() for word in words]
    if not words or not all(words):
        raise UsageError("expected words to forbid or require, got an empty one: name at least one, each on its own")
    choices = "|".join("".join(map(_any_case, word)) for word in words)
    return regex(f"(?s:(?:.*{NO_LETTER})?(?:{choices})(?:[eE]?[sS])?(?:{NO_LETTER}.*)?)")


def _any_case(letter: str) -> str:
    cases = {letter, letter.lower(), letter.upper()}
    return "(?:" + "|".join(re.escape(case) for case in sorted(cases)) + ")" if len(cases) > 1 else re.escape(letter)
