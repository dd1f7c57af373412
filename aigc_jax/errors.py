"""Mistakes of users, and the text that describes them: the standard library alone, since these must be quick."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"


class UsageError(ValueError):
    """A mistake of the user, who can mend it.

    Its message is one line with the expected value, the actual one and advice. The command line prints it without a
    traceback and exits with status 2; every other exception is a defect of the library.
    """

    # The public name, in tracebacks.
    __module__ = "aigc_jax.types"


def visible(text: str) -> str:
    r"""One line of valid UTF-8: line breaks, terminal escapes and other control characters are written as escapes.

    Names of files and classes of unknown origin could clear the screen, begin a new line, or be no valid UTF-8.

    >>> print(visible("a cat\n\x1b[2J"), visible("café"), visible("gr\udcfcn.png"))
    a cat\n\x1b[2J café gr\xfcn.png
    """
    return "".join(_visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    # Controls, formats (which can reverse text), lone surrogates, line and paragraph separators; joiners are spelling.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS:
        return character.encode("unicode_escape").decode()
    return character


def option(name: str) -> str:
    """The option of a setting: ``--num-steps``."""
    return "--" + name.replace("_", "-")
