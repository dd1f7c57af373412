"""Labelled texts: documents with a class each, whole, as examples."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.files import parse_json, unreadable, visible
from aigc_jax.data.sentiment import SENTIMENT, prepared_sentiment
from aigc_jax.data.text import NAME, broken_bytes, open_texts, read_content
from aigc_jax.data.text import Texts as Documents
from aigc_jax.data.tfds_source import read_labelled_texts
from aigc_jax.data.tokenizer import PAD, Tokenizer
from aigc_jax.types import Data, UsageError

FORMS = "text:FILE.jsonl (a line each with text and label), sentiment, tfds:NAME or world:reviews"
"""Forms of names of labelled text."""

HELD_OUT_EVERY = 5
"""Every fifth document is held out."""

_ADVICE = 'write a line such as {"text": "...", "label": "positive"} for each text'


class Texts(NamedTuple):
    """Texts with their classes."""

    texts: Sequence[str]
    labels: Int[np.ndarray, " num"]


class LabelledTexts(NamedTuple):
    """Labelled texts before they are tokens."""

    name: str
    train: Texts
    held_out: Texts
    class_names: Sequence[str]
    remarks: Sequence[str] = ()


def open_labelled_texts(name: str, data_dir: str | None = None) -> LabelledTexts:
    """Labelled texts by name, from local files only.

    Args:
        name: ``text:FILE.jsonl``, a line of JSON each with ``text`` and ``label``, a word or an integer, and optionally
            ``prompt``, which precedes the text, and ``document``: texts of one document are all trained on or all held
            out, and every fifth document is; ``sentiment`` and ``tfds:NAME``, prepared by ``aigc-jax data prepare``.
        data_dir: the folder of prepared data sets, see :func:`aigc_jax.data.sources.open_data`.

    Raises:
        UsageError: an unknown name; missing or damaged text, or labels that are no classes.
    """
    kind, _, rest = name.partition(":")
    if kind == "text" and rest:
        return _of_rows(name, Path(rest).expanduser())
    if name == SENTIMENT:
        return _of_rows(name, prepared_sentiment(data_dir))
    if kind == "tfds" and rest:
        train, held_out, class_names = read_labelled_texts(rest, data_dir)
        return LabelledTexts(name, Texts(*train), Texts(*held_out), class_names)
    raise UsageError(f"labelled text must be {FORMS}, got {visible(name)!r}: set --data")


def open_documents(name: str, data_dir: str | None = None) -> Documents:
    """Texts by name as :func:`aigc_jax.data.text.open_texts`, or those of ``sentiment`` without their labels.

    Of these the same are held out as with labels: a language model sees none that a classifier is measured on.
    """
    if name != SENTIMENT:
        return open_texts(name, data_dir)
    found = open_labelled_texts(name, data_dir)
    return Documents(name, found.train.texts, found.held_out.texts, found.remarks)


def labelled_data(texts: LabelledTexts, tokenizer: Tokenizer, length: int) -> Data:
    """Documents as int32 [length + 1]: a boundary, the tokens, a boundary, padding; longer ones are cut."""
    digest, num_cut, sources = hashlib.sha256(tokenizer.definition.encode()), 0, list[ArraySource]()
    for part in (texts.train, texts.held_out):
        tokens, is_cut = tokens_of(part.texts, tokenizer, length)
        digest.update(tokens.tobytes() + part.labels.tobytes())
        num_cut += int(is_cut.sum())
        sources.append(ArraySource(tokens, part.labels, name=NAME))
    num = len(texts.train.texts) + len(texts.held_out.texts)
    cut = [f"{num_cut} of {num} texts are cut to {length} tokens"] if num_cut else []
    train, held_out = sources
    return Data(texts.name, train, held_out, texts.class_names, [*texts.remarks, *cut], digest.hexdigest())


def tokens_of(
    texts: Sequence[str], tokenizer: Tokenizer, length: int
) -> tuple[Int[np.ndarray, "num size"], np.ndarray]:
    """Whole texts as int32 [num, length + 1], and which of them are cut."""
    rows = np.full((len(texts), length + 1), PAD, np.int32)
    is_cut = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        tokens = [tokenizer.boundary, *tokenizer.encode(text).tolist(), tokenizer.boundary]
        # The boundary at the end may be missing where all tokens fit.
        is_cut[row] = len(tokens) > length + 2
        rows[row, : len(tokens)] = tokens[: length + 1]
    return rows, is_cut


def read_rows(path: Path) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The lines of a .jsonl file, each an object with a ``text``, and remarks; UsageError for others."""
    content = read_content(path, _ADVICE)
    rows = list[Mapping[str, Any]]()
    for number, line in enumerate(content.decode(errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError("it has no entry text")
        except ValueError as error:
            raise unreadable(path, ValueError(f"line {number}: {error}"), _ADVICE) from error
        rows.append(row)
    if not rows:
        raise unreadable(path, ValueError("it is empty"), _ADVICE)
    return rows, broken_bytes(content, [row["text"] for row in rows])


def text_of(row: Mapping[str, Any]) -> str:
    """The text of a line, after its prompt."""
    prompt = row.get("prompt", "")
    return (prompt if isinstance(prompt, str) else "") + row["text"]


def _of_rows(name: str, path: Path) -> LabelledTexts:
    rows, remarks = read_rows(path)
    labels, class_names = numbered(path, [row.get("label") for row in rows])
    is_held_out = _held_out([_hashable(row.get("document", number)) for number, row in enumerate(rows)])
    texts = [text_of(row) for row in rows]
    parts = [
        Texts([text for text, is_chosen in zip(texts, chosen, strict=True) if is_chosen], labels[chosen])
        for chosen in (~is_held_out, is_held_out)
    ]
    if not all(len(part.texts) for part in parts):
        error = ValueError(f"of its {len(rows)} lines none can be held out")
        raise unreadable(path, error, f"give {HELD_OUT_EVERY} documents or more")
    return LabelledTexts(name, parts[0], parts[1], class_names, remarks)


def numbered(path: Path, labels: Sequence[Any]) -> tuple[Int[np.ndarray, " num"], list[str]]:
    """Labels as numbers, and the names of the classes in order."""
    kinds = {type(label) for label in labels}
    if None in labels:
        error = ValueError(f"line {list(labels).index(None) + 1} has no label")
    elif kinds - {str, int}:
        error = ValueError(f"a label is a {min(kind.__name__ for kind in kinds - {str, int})}, no word or integer")
    elif len(kinds) > 1:
        error = ValueError("some labels are words and some integers")
    elif len(set(labels)) < 2:
        error = ValueError(f"all labels are {visible(str(labels[0]))!r}, two classes are needed")
    else:
        classes = sorted(set(labels))
        number = {label: at for at, label in enumerate(classes)}
        return np.array([number[label] for label in labels], np.int32), [str(label) for label in classes]
    raise unreadable(path, error, _ADVICE)


def _hashable(value: Any) -> Hashable:
    return value if isinstance(value, Hashable) else repr(value)


def _held_out(documents: Sequence[Hashable]) -> np.ndarray:
    """Which texts belong to every fifth document, in the order of their first texts."""
    order = {document: at for at, document in enumerate(dict.fromkeys(documents))}
    return np.array([order[document] % HELD_OUT_EVERY == HELD_OUT_EVERY // 2 for document in documents])
