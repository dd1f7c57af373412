"""Pairs of answers to prompts, a chosen and a rejected one, from a .jsonl file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from aigc_jax.data.files import parse_json, regular_file, unreadable, visible
from aigc_jax.data.text import HELD_OUT_EVERY, MAX_BYTES, NAME, text_modality
from aigc_jax.data.tokenizer import PAD, Tokenizer
from aigc_jax.types import Data, Modality, UsageError

ENTRIES = ("prompt", "chosen", "rejected")
"""Of each line of the file."""


class RowSource:
    """Rows of tokens of one shape; and texts one after the other, by which reports know the training text."""

    def __init__(self, rows: Int[np.ndarray, "n ..."], stream: Int[np.ndarray, " m"]) -> None:
        self.rows, self.stream = rows, stream

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {NAME: self.rows[index]}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The rows at ``indices`` as one batch."""
        return {NAME: self.rows[indices]}


def preference_data(name: str, tokenizer: Tokenizer, length: int) -> Data:
    """Pairs of ``text:FILE.jsonl``, whose lines have the entries prompt, chosen and rejected, all texts.

    Every tenth line is held out: of these the chosen texts alone, as any other text, prompt and answer.

    Args:
        name: names the file.
        tokenizer: of the model.
        length: number of tokens that a prompt and an answer with its end have at most.

    Raises:
        UsageError: the file cannot be read, a line is no pair, or it is too long.
    """
    kind, _, path = name.partition(":")
    if kind != "text" or not path.endswith(".jsonl"):
        raise UsageError(f"expected pairs as text:FILE.jsonl, got {visible(name)}: set --data")
    file = Path(path).expanduser()
    try:
        with regular_file(file) as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
        rows = [parse_json(line) for line in content.decode(errors="replace").splitlines() if line.strip()]
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict) or not all(isinstance(row.get(entry), str) for entry in ENTRIES):
                raise ValueError(f"line {number} has no texts {', '.join(ENTRIES)}")
    except (OSError, ValueError) as error:
        raise unreadable(file, error, f"name a .jsonl file with entries {', '.join(ENTRIES)} in each line") from error
    if len(rows) < 2:
        raise UsageError(f"{visible(name)} has {len(rows)} pairs, of which none could be held out: name a longer file")
    every = min(HELD_OUT_EVERY, len(rows))
    is_held_out = np.arange(len(rows)) % every == every // 2
    pairs = np.stack([_pair(row, number, tokenizer, length) for number, row in enumerate(rows, 1)])
    chosen = np.concatenate([pairs[:, 0, 0], np.full((len(pairs), 1), PAD)], axis=1).astype(np.int32)
    # The last target of a text: its end, or a token that is read by none.
    ends = np.argmax(chosen == PAD, axis=1)
    chosen[np.arange(len(chosen)), ends] = tokenizer.boundary
    streams = [texts[texts != PAD] for texts in (chosen[~is_held_out], chosen[is_held_out])]
    return Data(
        name,
        RowSource(pairs[~is_held_out], streams[0]),
        RowSource(chosen[is_held_out], streams[1]),
        (),
        [f"{tokenizer.name}: {len(pairs)} pairs"],
        hashlib.sha256(pairs.tobytes() + tokenizer.definition.encode()).hexdigest(),
    )


def pair_modality(tokenizer: Tokenizer) -> Modality:
    """The modality of text, whose training examples are pairs."""
    text = text_modality(tokenizer)
    return text._replace(load=lambda tokens: text.load(tokens.reshape(len(tokens), -1)).reshape(tokens.shape))


def _pair(row: dict[str, str], number: int, tokenizer: Tokenizer, length: int) -> Int[np.ndarray, "2 2 length"]:
    prompt = [tokenizer.start, *tokenizer.encode(row["prompt"])]
    arms = [_arm(prompt, [*tokenizer.encode(row[name]), tokenizer.boundary], length) for name in ENTRIES[1:]]
    if any(arm is None for arm in arms):
        raise UsageError(
            f"line {number} has a prompt and an answer of more than {length} tokens: shorten "
            "them, or set a larger --length"
        )
    return np.stack([arm for arm in arms if arm is not None])


def _arm(prompt: Sequence[int], answer: Sequence[int], length: int) -> Int[np.ndarray, "2 length"] | None:
    """Tokens that are read and targets, those of the prompt none; None where they are too long."""
    tokens = [*prompt, *answer]
    if len(tokens) > length + 1:
        return None
    targets = [*[PAD] * (len(prompt) - 1), *answer]
    rows = [row + [PAD] * (length - len(row)) for row in (tokens[:-1], targets)]
    return np.array(rows, np.int32)
