"""Files that appear whole or not at all, and text of strangers made safe to print."""

from __future__ import annotations

import contextlib
import os
import secrets
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from aigc_jax.types import UsageError

_JOINERS = "\u200c\u200d"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def visible(text: str) -> str:
    r"""Text with line breaks, terminal escapes and other control characters written as escapes.

    Names of files and classes may come from anywhere: printed as they are, they could clear the screen, begin a
    line of their own, or be no valid UTF-8.

    Args:
        text: any text, also a file name with bytes that are not UTF-8.

    Returns:
        One line of valid UTF-8; ordinary text of any script is unchanged.

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


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when all is written: a reader never sees half of it.

    Args:
        path: where; missing folders are made.

    Yields:
        A binary file to write to.

    Raises:
        UsageError: the file cannot be written there.
    """
    # A random name that must be new: a link that waits under a known one would have another file overwritten.
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, _FLAGS, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write {visible(str(path))}: {error.strerror or error}; name a file in a writable folder"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Args:
        path: where; missing folders are made.
        text: the whole content.

    Raises:
        UsageError: the file cannot be written there.
    """
    with whole_file(path) as file:
        file.write(text.encode())
