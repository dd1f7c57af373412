"""Atomic writing of files, checked reading of files of unknown origin, and text made safe to print."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import socket
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from aigc_jax.errors import UsageError, visible

MAX_TEXT_BYTES = 64 * 2**20
"""Size limit of a text file that is read whole."""

MAX_ARRAY_BYTES = 2**30
"""Size limit of all arrays of one .npz file together, in memory."""

MAX_DEPTH = 100
"""How deeply lists and objects of a JSON file may be nested."""

_MAX_DIGITS = 300  # as many still fit a float

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def cache_dir() -> Path:
    """The folder of files that can be made again: AIGC_JAX_CACHE, or else the user's cache folder."""
    given = os.environ.get("AIGC_JAX_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aigc_jax"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a binary file that appears under its name only when complete; missing folders are made."""
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
    """Write a text file, whole or not at all."""
    with whole_file(path) as file:
        # A path in the text need not be valid Unicode.
        file.write(text.encode(errors="backslashreplace"))


@contextlib.contextmanager
def regular_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file to read; OSError for others: a pipe would block for ever, a device has no end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "not a regular file")
        yield file


@contextlib.contextmanager
def _checked_file(path: Path, advice: str) -> Iterator[IO[bytes]]:
    """Open a regular file of unknown origin; whatever fails in the block is the file's fault."""
    try:
        with regular_file(path) as file:
            yield file
    except Exception as error:  # zipfile, its codecs and numpy each have their own
        raise unreadable(path, error, advice) from error


def _text(file: IO[bytes]) -> str:
    content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"larger than {MAX_TEXT_BYTES >> 20} MiB")
    return content.decode()


def read_text(path: Path, *, advice: str) -> str:
    """Read a UTF-8 text file of unknown origin; ``advice`` ends the error's line.

    >>> read_text(Path("no-such-file"), advice="name another file")
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: cannot read no-such-file (No such file or directory): name another file
    """
    with _checked_file(path, advice) as file:
        return _text(file)


def read_json(path: Path, *, advice: str) -> dict[str, Any]:
    """Read a JSON object from a file of unknown origin, checked as in :func:`parse_json`."""
    with _checked_file(path, advice) as file:
        content = parse_json(_text(file))
        if not isinstance(content, dict):
            raise ValueError(f"expected a JSON object, got a {type(content).__name__}")
        return content


def parse_json(text: str) -> Any:
    """Parse JSON text of unknown origin; ValueError for deep nesting or an integer beyond the range of a float.

    >>> parse_json("[" * 200 + "]" * 200)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 100 deep
    """
    too_deep = ValueError(f"nested more than {MAX_DEPTH} deep")
    try:
        content = json.loads(text, parse_int=_parse_int)
    except RecursionError:
        raise too_deep from None
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return content
        level = [child for value in containers for child in (value.values() if isinstance(value, dict) else value)]
    raise too_deep


def _parse_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def read_npz(path: Path, *, advice: str) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file of unknown origin; sizes are checked first, no pickle is read."""
    with _checked_file(path, advice) as file:
        with zipfile.ZipFile(file) as archive:
            num_bytes = sum(_claimed_bytes(archive, member) for member in archive.infolist())
        if num_bytes > MAX_ARRAY_BYTES:
            raise ValueError(f"its arrays claim {num_bytes} bytes, more than {MAX_ARRAY_BYTES}")
        file.seek(0)
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}


def _claimed_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Memory that an array of an archive claims, by its header and by its entry in the archive."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects")
    return max(math.prod(shape) * dtype.itemsize, member.file_size)


def unreadable(path: Path, error: Exception, advice: str) -> UsageError:
    """The error of an unreadable file in one line: file, reason and advice."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return UsageError(f"cannot read {visible(str(path))} ({visible(reason)[:200]}): {advice}")


class LockedError(Exception):
    """A file is locked by another process, the ``owner``, as ``123 on host``."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"locked by process {owner}")
        self.owner = owner


@contextlib.contextmanager
def file_lock(path: Path, *, is_waiting: bool = False) -> Iterator[None]:
    """Hold a lock that the kernel frees when the process ends; the file stays, with the owner's process number in it.

    LockedError means another owner, unless ``is_waiting``; UsageError a file that cannot be opened, or is a link.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    except OSError as error:
        raise UsageError(
            f"cannot write {visible(str(path))}: {error.strerror or error}; name a writable folder"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB))
        except BlockingIOError:
            raise LockedError(visible(file.read(100).decode(errors="replace").strip())) from None
        except OSError as error:
            print(
                f"warning: {visible(str(path))} cannot be locked ({error.strerror}): start no second process on it",
                file=sys.stderr,
            )
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"{os.getpid()} on {socket.gethostname()}".encode())
        yield
