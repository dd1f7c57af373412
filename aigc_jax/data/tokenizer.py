"""Tokenizers: text to token ids and back. They are data, a line of JSON each, and are loaded without running code."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from aigc_jax.data.files import parse_json, visible
from aigc_jax.types import UsageError

PAD = -1
"""The id after the end of a shorter sequence; no token has it."""

FORMS = "bytes, chars or bpe:N (for example bpe:2048)"
"""Names of tokenizers."""

MAX_VOCAB = 2**17


class Tokenizer(NamedTuple):
    """Text to token ids and back.

    The last token of the vocabulary is the boundary: it precedes and ends each document, and spells nothing.

    Attributes:
        name: ``bytes``, ``chars``, ``bpe:2048`` or, of worlds, ``words``.
        vocabulary: the bytes that each token spells; of the boundary none.
        encode: ``text -> ids int32 [n]``; raises UsageError for a character that it does not know.
        definition: the tokenizer as JSON, for :func:`read_tokenizer`.
        start: the token before a sample without a prompt: the boundary, or a line break where the training text is one
            document.
    """

    name: str
    vocabulary: Sequence[bytes]
    encode: Callable[[str], Int[np.ndarray, " n"]]
    definition: str
    start: int

    @property
    def boundary(self) -> int:
        """The token between documents."""
        return len(self.vocabulary) - 1

    def decode(self, tokens: Int[np.ndarray, " n"]) -> str:
        """The text of one sequence without its padding; bytes that are no UTF-8 become U+FFFD.

        >>> tokenizer = bytes_tokenizer()
        >>> tokenizer.decode(tokenizer.encode("naïve"))
        'naïve'
        """
        return b"".join(self.vocabulary[token] for token in tokens if token != PAD).decode(errors="replace")

    def num_bytes(self) -> Int[np.ndarray, " vocab"]:
        """The number of bytes that each token spells."""
        return np.array([len(spelling) for spelling in self.vocabulary], np.int32)

    def word_starts(self) -> Bool[np.ndarray, " vocab"]:
        """Whether each token begins a word, after a space."""
        return np.array([spelling.startswith(b" ") for spelling in self.vocabulary])


def make_tokenizer(name: str, documents: Sequence[str]) -> Tokenizer:
    """A tokenizer by its name, made of training documents.

    Args:
        name: ``bytes``; ``chars``, those of the documents; ``bpe:N``, byte-level byte pair encoding with N tokens.
        documents: the training text.

    Raises:
        UsageError: there is no such tokenizer, the text is empty, or the package of BPE is not installed.

    Reference:
        Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016, section 3.2;
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2 (bytes).

    >>> make_tokenizer("chars", ["to be or not to be"]).encode("root").tolist()
    [5, 4, 4, 6]
    """
    if not any(documents):
        raise UsageError("expected a text to learn from, got an empty one: name another --data")
    kind, _, size = name.partition(":")
    if name == "bytes":
        tokenizer = bytes_tokenizer()
    elif name == "chars":
        chars = "".join(sorted(set().union(*documents)))
        if len(chars) >= MAX_VOCAB:
            words = f"expected fewer than {MAX_VOCAB} different characters, the text has {len(chars)}"
            raise UsageError(f"{words}: set --tokenizer bytes")
        tokenizer = _chars(chars)
    elif kind == "bpe" and size.isdecimal() and len(size) < 9 and 257 < int(size) <= MAX_VOCAB:
        tokenizer = _trained_bpe(int(size), documents)
    else:
        expected = f"expected a tokenizer {FORMS}, N in 258 to {MAX_VOCAB}"
        raise UsageError(f"{expected}; got {visible(name)!r}: set --tokenizer")
    if len(documents) > 1:
        return tokenizer
    # No sample of a single long text begins at its start: it begins at a line.
    start = int(tokenizer.encode("\n" if "\n" in documents[0] else documents[0][0])[-1])
    definition = json.dumps({**json.loads(tokenizer.definition), "start": start})
    return tokenizer._replace(start=start, definition=definition)


@functools.cache
def bytes_tokenizer() -> Tokenizer:
    """The bytes of UTF-8 as tokens."""
    return Tokenizer(
        "bytes",
        [*(bytes([byte]) for byte in range(256)), b""],
        lambda text: np.frombuffer(_without_surrogates(text).encode(), np.uint8).astype(np.int32),
        json.dumps({"kind": "bytes"}),
        start=256,
    )


def words_tokenizer(words: Sequence[bytes]) -> Tokenizer:
    """A fixed list of words as tokens; of several that fit, a text is of the longest.

    >>> tokenizer = words_tokenizer([b"Ann", b" plays", b" the", b" lute."])
    >>> tokenizer.encode("Ann plays the lute.").tolist()
    [0, 1, 2, 3]
    """
    ids = {word: number for number, word in enumerate(words)}
    if len(ids) < len(words) or not all(words) or not 0 < len(words) < MAX_VOCAB:
        raise ValueError(f"expected up to {MAX_VOCAB} different words")
    pattern = re.compile(b"|".join(map(re.escape, sorted(words, key=len, reverse=True))))

    def encode(text: str) -> np.ndarray:
        content, found, place = _without_surrogates(text).encode(), list[int](), 0
        while place < len(content):
            match = pattern.match(content, place)
            if match is None:
                start = len(content[:place].decode(errors="ignore"))
                raise UsageError(
                    f"at character {start + 1}, {visible(text[start : start + 12])!r} begins with none of the "
                    f"{len(words)} words of the training text: write it as samples are"
                )
            found.append(ids[match.group()])
            place = match.end()
        return np.array(found, np.int32)

    definition = json.dumps({"kind": "words", "words": [word.decode() for word in words]})
    return Tokenizer("words", [*words, b""], encode, definition, start=len(words))


def read_tokenizer(definition: str) -> Tokenizer:
    """The tokenizer of its JSON, which may come from a stranger.

    Raises:
        UsageError: it is no tokenizer.

    >>> read_tokenizer(make_tokenizer("chars", ["abba"]).definition).vocabulary
    [b'a', b'b', b'']
    """
    try:
        content = parse_json(definition)
        made = {
            "bytes": lambda: bytes_tokenizer(),
            "chars": lambda: _chars(content["chars"]),
            "bpe": lambda: _bpe(content["bpe"]),
            "words": lambda: words_tokenizer([word.encode() for word in content["words"]]),
        }
        tokenizer = made[content["kind"]]()
        start = content.get("start", tokenizer.start)
        if type(start) is not int or not 0 <= start < len(tokenizer.vocabulary):
            raise ValueError("its start is no token")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the tokenizer is broken ({visible(str(error))}): restore the run from a copy") from error
    return tokenizer._replace(start=start, definition=definition)


def _chars(chars: str) -> Tokenizer:
    if not 0 < len(chars) < MAX_VOCAB or "".join(sorted(set(chars))) != chars:
        raise ValueError(f"expected up to {MAX_VOCAB} characters in order")
    code_points = np.array([ord(char) for char in chars])

    def encode(text: str) -> np.ndarray:
        given = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32).astype(np.int64)
        ids = np.minimum(np.searchsorted(code_points, given), len(code_points) - 1)
        if (unknown := code_points[ids] != given).any():
            place = int(np.flatnonzero(unknown)[0])
            raise UsageError(
                f"the character {visible(text[place])!r} (U+{ord(text[place]):04X}), number {place + 1} of the text, "
                f"is none of the {len(chars)} of the training text: leave it out, or train with --tokenizer bytes"
            )
        return ids.astype(np.int32)

    spellings = [*(char.encode(errors="surrogatepass") for char in chars), b""]
    # Surrogates stand for bytes that were no UTF-8.
    return Tokenizer("chars", spellings, encode, json.dumps({"kind": "chars", "chars": chars}), start=len(chars))


def _trained_bpe(vocab_size: int, documents: Sequence[str]) -> Tokenizer:
    models = _tokenizers_package()
    tokenizer = models.Tokenizer(models.models.BPE())
    tokenizer.pre_tokenizer = models.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = models.trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=sorted(models.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((line for text in documents for line in text.splitlines(keepends=True)), trainer)
    return _bpe(tokenizer.to_str())


def _bpe(definition: str) -> Tokenizer:
    package = _tokenizers_package()
    byte_of = {char: byte for byte, char in _byte_chars().items()}
    # Of a file, which may be a stranger's, the pairs alone: a normaliser or a cut would change texts in silence.
    model = parse_json(definition)["model"]
    vocab, merges = dict(model["vocab"]), [tuple(pair) for pair in model["merges"]]
    pieces = sorted(vocab.items(), key=lambda item: item[1])
    if len(pieces) >= MAX_VOCAB or [number for _, number in pieces] != list(range(len(pieces))):
        raise ValueError("its tokens are not numbered in turn")
    if not vocab.keys() >= byte_of.keys():
        raise ValueError("it lacks some of the 256 bytes")
    try:
        tokenizer = package.Tokenizer(package.models.BPE(vocab, merges))
    except Exception as error:  # the package raises bare ones
        raise ValueError("no byte pair encoding") from error
    tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    spellings = [bytes(byte_of[char] for char in piece) for piece, _ in pieces]
    return Tokenizer(
        f"bpe:{len(spellings) + 1}",
        [*spellings, b""],
        lambda text: np.array(tokenizer.encode(_without_surrogates(text), add_special_tokens=False).ids, np.int32),
        json.dumps({"kind": "bpe", "bpe": definition}),
        start=len(spellings),
    )


def _without_surrogates(text: str) -> str:
    """Text that UTF-8 can write: halves of surrogate pairs, as from bytes that were no UTF-8, become U+FFFD."""
    return text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")


def _byte_chars() -> dict[int, str]:
    """The printable character by which byte-level BPE writes each byte: itself, or one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return {byte: chr(byte if byte in printable else next(others)) for byte in range(256)}


def _tokenizers_package() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError("byte pair encoding needs the package tokenizers: pip install 'aigc-jax[text]'") from error
    return tokenizers
