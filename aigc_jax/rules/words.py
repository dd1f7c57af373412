"""Forbidden and required words: as whole words, in any case, singular and plural."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from aigc_jax.rules.bytes import complement, intersection
from aigc_jax.rules.regex import regex
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

_BEYOND_ASCII = (
    r"\u0080-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7"  # of Latin-1: no-break space, quotes
    r"\u2000-\u206f\u20a0-\u20cf\u2100-\u2bff\u2e00-\u2e7f"  # punctuation, currencies, symbols
    r"\u3000-\u3004\u3008-\u3020\ufe30-\ufe4f\uff01-\uff0f\uff1a-\uff20"  # of East Asian texts
    r"\U0001f000-\U0001faff"  # pictures
)
NO_LETTER = rf"(?:[^\w\u0080-\U0010ffff]|[{_BEYOND_ASCII}])"
"""What ends a word: ASCII that is no letter, digit or underscore, and the common punctuation and symbols beyond it.

All other characters count as letters.
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
