"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from aigc_jax.types import UsageError


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; name a file in a writable folder") from error


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
