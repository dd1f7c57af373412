"""Text: documents by name, windows of their tokens as examples, and the modality of token sequences."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer

from aigc_jax.data.arrays import take
from aigc_jax.data.export import write_npz
from aigc_jax.data.files import parse_json, regular_file, unreadable, visible, whole_file
from aigc_jax.data.tfds_source import read_texts
from aigc_jax.data.tokenizer import PAD, Tokenizer
from aigc_jax.types import Data, DataSource, Modality, UsageError

NAME = "tokens"
FORMS = "python-docs, text:FILE (.txt or .jsonl), tfds:NAME (for example tfds:tiny_shakespeare) or sentiment"
"""Forms of names of text."""

MAX_BYTES = 2**30
"""Size limit of a text file."""

HELD_OUT_EVERY = 10
"""Every tenth document is held out; of a single one the last tenth."""


class Texts(NamedTuple):
    """Documents before they are tokens."""

    name: str
    train: Sequence[str]
    held_out: Sequence[str]
    remarks: Sequence[str] = ()


def open_texts(name: str, data_dir: str | None = None) -> Texts:
    """Documents by name, from local files only.

    Args:
        name: ``python-docs``, the help topics that every Python carries; ``text:FILE``, a .txt file (one document) or a
            .jsonl file with an entry ``text`` a line; ``tfds:NAME``, prepared by ``aigc-jax data prepare``.
        data_dir: the folder of prepared ``tfds`` data sets, see :func:`aigc_jax.data.sources.open_data`.

    Raises:
        UsageError: an unknown name; missing, damaged or empty text.

    >>> texts = open_texts("python-docs")
    >>> len(texts.train[0]) > len(texts.held_out[0]) > 0
    True
    """
    kind, _, rest = name.partition(":")
    if name == "python-docs":
        return _python_docs()
    if kind == "text" and rest:
        return _of_file(Path(rest).expanduser(), name)
    if kind == "tfds" and rest:
        train, held_out = read_texts(rest, data_dir)
        return _checked(Texts(name, train, held_out))
    raise UsageError(f"text must be {FORMS}, got {visible(name)!r}: set --data")


def text_data(texts: Texts, tokenizer: Tokenizer, length: int) -> Data:
    """Windows of ``length`` + 1 tokens, whose first one is context and no target.

    Training windows begin at any place; in held-out ones each token is a target once.
    """
    train, held_out = (_stream(documents, tokenizer) for documents in (texts.train, texts.held_out))
    if len(held_out) < 2:
        raise UsageError(f"{visible(texts.name)} has no text to hold out: name a longer one")
    if len(train) <= length:
        raise UsageError(
            f"{visible(texts.name)} has {len(train)} training tokens, a window takes {length + 1}: name a longer text, "
            "or set a smaller --length"
        )
    edges = {"start": tokenizer.start, "boundary": tokenizer.boundary}
    digest = hashlib.sha256(train.tobytes() + held_out.tobytes() + tokenizer.definition.encode()).hexdigest()
    sizes = f"{len(train):,} training tokens and {len(held_out):,} held out, {len(tokenizer.vocabulary)} different"
    return Data(
        texts.name,
        WindowSource(train, length, **edges),
        WindowSource(held_out, length, stride=length, **edges),
        (),
        [*texts.remarks, f"{tokenizer.name}: {sizes}"],
        digest,
    )


def whole_windows(data: Data, length: int) -> Data:
    """Data of :func:`text_data` in windows of ``length`` tokens, all of which are targets, for models of all at once.

    Held-out windows do not overlap, and what is left after the last one is dropped.
    """
    train, held_out = (token_stream(source) for source in (data.train, data.held_out))
    held_out = held_out[: len(held_out) - len(held_out) % length]
    return data._replace(
        train=WindowSource(train, length - 1), held_out=WindowSource(held_out, length - 1, stride=length)
    )


class WindowSource:
    """Windows of a stream of tokens, int32 [length + 1] each, padded where the stream ends.

    >>> [window.tolist() for window in WindowSource(np.arange(5), 2, stride=2).take(np.arange(2))["tokens"]]
    [[0, 1, 2], [2, 3, 4]]
    """

    def __init__(
        self, stream: Integer[np.ndarray, " n"], length: int, *, stride: int = 1, start: int = PAD, boundary: int = PAD
    ) -> None:
        self.stream, self.length, self.stride = stream, length, stride
        self.start, self.boundary = start, boundary

    def __len__(self) -> int:
        num_targets = len(self.stream) - 1
        return max(num_targets - self.length + 1, 0) if self.stride == 1 else -(-num_targets // self.stride)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The windows at ``indices`` as one batch."""
        places = np.asarray(indices)[:, None] * self.stride + np.arange(self.length + 1)
        tokens = self.stream[np.minimum(places, len(self.stream) - 1)].astype(np.int32)
        return {NAME: np.where(places < len(self.stream), tokens, PAD)}

    def beginnings(self, length: int, num: int) -> Int[np.ndarray, "num length"]:
        """Up to ``num`` texts as samples are: each from a start token on, cut at its end, none within another.

        Windows begin anywhere, and are of another length: compared with them, true text would differ.
        """
        places, found = np.flatnonzero(self.stream == self.start), []
        after = 0
        for place in places:
            if len(found) < num and place >= after and place + 1 < len(self.stream):
                text = self.stream[place : place + length].astype(np.int32)
                ends = np.flatnonzero(text[1:] == self.boundary)
                text = text[: ends[0] + 1] if len(ends) else text
                if len(text) > 1 and (len(ends) or len(text) == length):
                    found.append(np.pad(text, (0, length - len(text)), constant_values=PAD))
                after = place + max(len(text), 1)
        return np.stack(found) if found else np.zeros((0, length), np.int32)


def token_stream(source: DataSource) -> Integer[np.ndarray, " n"]:
    """All tokens of windows of text, or of other sequences, one after the other and without their padding."""
    stream = getattr(source, "stream", None)
    if stream is not None:
        return stream
    tokens = take(source, np.arange(len(source)))[NAME]
    return tokens[tokens != PAD]


def example_texts(source: DataSource, length: int, num: int, modality: Modality) -> Int[np.ndarray, "num length"]:
    """Up to ``num`` texts as samples of ``length`` tokens are: from their start on, and no longer."""
    if isinstance(source, WindowSource):
        return source.beginnings(length, num)
    rows = take(source, np.arange(min(num, len(source))))[NAME][:, :length]
    # Whole texts are between two boundaries, the last token, and a sample ends without one.
    return np.where((rows + 1 == modality.num_levels) & (np.arange(rows.shape[1]) > 0), PAD, rows)


def text_modality(tokenizer: Tokenizer) -> Modality:
    """The modality of text: models see and files hold tokens, people read text."""
    num_levels = len(tokenizer.vocabulary)

    def text_of(tokens: np.ndarray) -> str:
        # The start of a sample is no part of it.
        return tokenizer.decode(tokens[1:] if len(tokens) and tokens[0] == tokenizer.start else tokens)

    def load(tokens: np.ndarray) -> np.ndarray:
        if not np.issubdtype(tokens.dtype, np.integer) or tokens.ndim != 2:
            raise UsageError(f"expected tokens as integers [N, L], got {tokens.dtype} {list(tokens.shape)}: convert")
        if tokens.size and (tokens.min() < PAD or tokens.max() >= num_levels):
            raise UsageError(
                f"expected tokens in 0 to {num_levels - 1}, and {PAD} after the end, got {tokens.min()} to "
                f"{tokens.max()}: they are of another tokenizer"
            )
        return tokens.astype(np.int32)

    def show(
        stored: np.ndarray, ids: np.ndarray | None = None, names: Sequence[str] = (), *, real: np.ndarray | None = None
    ) -> list[str]:
        del ids, names, real
        return [f"--- {i}\n{text_of(row)}" for i, row in enumerate(stored)]

    def write_txt(
        path: Path, blocks: Iterable[np.ndarray], ids: np.ndarray | None, *, num: int, names: Sequence[str] = ()
    ) -> None:
        del ids, num, names
        with whole_file(Path(path)) as file:
            for i, row in enumerate(row for block in blocks for row in block):
                file.write(f"--- {i}\n{text_of(row)}\n".encode(errors="replace"))

    def write_jsonl(
        path: Path, blocks: Iterable[np.ndarray], ids: np.ndarray | None, *, num: int, names: Sequence[str] = ()
    ) -> None:
        del num
        with whole_file(Path(path)) as file:
            for i, row in enumerate(row for block in blocks for row in block):
                condition = {} if ids is None or not names else {"condition": names[ids[i]]}
                content = {"id": i, **condition, "text": text_of(row)}
                file.write((json.dumps(content, ensure_ascii=False) + "\n").encode(errors="replace"))

    return Modality(
        name=NAME,
        load=load,
        store=lambda tokens: np.asarray(tokens, np.int32),
        show=show,
        writers={".txt": write_txt, ".jsonl": write_jsonl, ".npz": functools.partial(write_npz, name=NAME)},
        num_levels=num_levels,
        num_shown=4,
        dtype=np.int32,
        prompts=functools.partial(_prompts, tokenizer),
        texts=lambda stored: [text_of(row) for row in stored],
    )


def _stream(documents: Sequence[str], tokenizer: Tokenizer) -> np.ndarray:
    """All documents as tokens, each between boundaries; a single one without."""
    parts = [tokenizer.encode(document) for document in documents]
    if tokenizer.start == tokenizer.boundary:
        edge = np.array([tokenizer.boundary], np.int32)
        parts = [edge, *(part for document in parts for part in (document, edge))]
    dtype = np.uint16 if len(tokenizer.vocabulary) <= 2**16 else np.int32
    return np.concatenate(parts).astype(dtype)


def _python_docs() -> Texts:
    import platform
    from pydoc_data.topics import topics  # pyright: ignore[reportMissingModuleSource]

    # Some topics hold parts of others, which must not be both trained on and held out: each paragraph counts once.
    known, documents = set[str](), []
    for _, text in sorted(topics.items()):
        paragraphs = {" ".join(each.split()): each for each in text.split("\n\n")}
        documents.append("\n\n".join(each for words, each in paragraphs.items() if words and words not in known))
        known |= paragraphs.keys()
    train, held_out = (["\n\n".join(part)] for part in _split([text for text in documents if text]))
    return Texts("python-docs", train, held_out, [f"help topics of Python {platform.python_version()}"])


def read_content(path: Path, advice: str) -> bytes:
    """A text file of unknown origin; UsageError for one that cannot be read, is too large, or is no text."""
    try:
        with regular_file(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
        if b"\0" in content[:8192]:
            raise ValueError("not a text file")
    except (OSError, ValueError) as error:
        raise unreadable(path, error, advice) from error
    return content


def broken_bytes(content: bytes, texts: Sequence[str]) -> list[str]:
    """A remark on bytes that are no UTF-8, where there are any."""
    num_broken = sum(text.count("\ufffd") for text in texts) - content.count("\ufffd".encode())
    return [f"{num_broken} sequences of bytes are no UTF-8, and became U+FFFD"] if num_broken > 0 else []


def _of_file(path: Path, name: str) -> Texts:
    advice = "name a .txt file, or a .jsonl file with an entry text in each line"
    content = read_content(path, advice)
    try:
        documents = [content] if path.suffix != ".jsonl" else _rows(content)
    except ValueError as error:
        raise unreadable(path, error, advice) from error
    texts = [document.decode(errors="replace") if isinstance(document, bytes) else document for document in documents]
    return _checked(Texts(name, *_split(texts), broken_bytes(content, texts)))


def _rows(content: bytes) -> list[str]:
    # Not by splitlines: JSON may hold other line breaks, such as U+2028, as they are.
    texts = []
    for number, line in enumerate(content.decode(errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise ValueError(f"line {number} has no entry text")
        texts.append(row["text"])
    return texts


def _split(documents: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training and held-out documents; the text of a few is cut at a line near its last tenth."""
    if len(documents) >= HELD_OUT_EVERY:
        held_out = [text for i, text in enumerate(documents) if i % HELD_OUT_EVERY == HELD_OUT_EVERY // 2]
        return [text for i, text in enumerate(documents) if i % HELD_OUT_EVERY != HELD_OUT_EVERY // 2], held_out
    text = "\n".join(documents)
    end = len(text) - len(text) // HELD_OUT_EVERY
    cut = text.rfind("\n", end - len(text) // HELD_OUT_EVERY, end) + 1 or end
    return [text[:cut]], [text[cut:]]


def _checked(texts: Texts) -> Texts:
    if not any(texts.train) or not any(texts.held_out):
        raise UsageError(f"{visible(texts.name)} holds no text to train on and hold out: name a longer one")
    return texts


def _prompts(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Texts as prompts int32 [N, P], each after the start token, padded to a power of two: few shapes to compile."""
    rows = [np.concatenate([[tokenizer.start], tokenizer.encode(text)]) for text in texts]
    width = 1 << max(3, (max(map(len, rows)) - 1).bit_length())
    return np.stack([np.pad(row, (0, width - len(row)), constant_values=PAD) for row in rows]).astype(np.int32)
