"""Rules that no automaton holds, on the host: the tokens that llguidance allows after each text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from aigc_jax.types import UsageError
from aigc_jax.types.rules import HostRule


def grammar_on_host(text: str, vocabulary: Sequence[bytes], end: int) -> HostRule:
    """A grammar in llguidance's dialect of Lark, of any depth.

    Args:
        text: the grammar.
        vocabulary: the bytes of each token; those that spell nothing are not allowed.
        end: the token that ends a text.

    Raises:
        UsageError: llguidance is not installed, or does not take the grammar.
    """
    matcher = _llguidance().LLMatcher
    return _rule(matcher.grammar_from_lark(text), vocabulary, end, "grammar")


def schema_on_host(definition: Any, vocabulary: Sequence[bytes], end: int) -> HostRule:
    """A JSON schema of any depth, of texts as ``json.dumps`` writes them; as :func:`grammar_on_host`."""
    matcher = _llguidance().LLMatcher
    how = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    try:
        found = matcher.grammar_from_json_schema(json.dumps(definition, allow_nan=False), overrides=how)
    except ValueError as error:
        line = " ".join(str(error).split())[:200]
        raise UsageError(f"the schema is none of JSON objects ({line}): say what is allowed") from error
    return _rule(found, vocabulary, end, "schema")


def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise UsageError("rules on the host need llguidance: pip install 'aigc-jax[grammar]'") from error
    return llguidance


class _Tokens:
    """A vocabulary as llguidance asks for it."""

    def __init__(self, vocabulary: Sequence[bytes], end: int) -> None:
        self.eos_token_id, self.bos_token_id = end, None
        self.special_token_ids = [place for place, token in enumerate(vocabulary) if not token]
        self.tokens = [token or b"<%d>" % place for place, token in enumerate(vocabulary)]

        self._number = {token: place for place, token in enumerate(vocabulary)}
        self._longest = max(map(len, vocabulary), default=0)

    def __call__(self, text: str | bytes) -> list[int]:
        """The longest tokens from the left: where one text alone may follow, llguidance allows these."""
        rest, found = text.encode() if isinstance(text, str) else text, list[int]()
        while rest:
            size = next((n for n in range(min(self._longest, len(rest)), 0, -1) if rest[:n] in self._number), 0)
            if not size:
                break
            found.append(self._number[rest[:size]])
            rest = rest[size:]
        return found


def _rule(definition: str, vocabulary: Sequence[bytes], end: int, name: str) -> HostRule:
    library = _llguidance()
    tokens = library.LLTokenizer(library.TokenizerWrapper(_Tokens(vocabulary, end)))
    if message := library.LLMatcher.validate_grammar(definition, tokens):
        line = " ".join(message.split())[:200]
        raise UsageError(f"llguidance does not take the {name}: {line}")
    first, size = library.LLMatcher(tokens, definition, log_level=0), len(vocabulary)
    if not (np.delete(_allowed(first, size), end).any() or first.is_accepting()):
        raise UsageError(f"the {name} allows no text at all: its parts contradict each other, or it is empty")
    # The matchers of the texts of the last two calls: a text is one token longer than one of the call before.
    known: list[dict[bytes, Any]] = [{}, {}]

    def matcher_after(text: Int[np.ndarray, " n"]) -> Any:
        """The matcher of a text, from that of its longest beginning that is known."""
        tokens = np.asarray(text, np.int32)
        found, size = first, 0
        for place in range(len(tokens), 0, -1):
            key = tokens[:place].tobytes()
            if (held := known[0].get(key) or known[1].get(key)) is not None:
                found, size = held, place
                break
        if size == len(tokens) or _is_over(found):
            return found
        found = found.deep_copy()
        for token in tokens[size:].tolist():
            if _is_over(found):
                break
            found.consume_token(token)
        return found

    def masks(rows: Int[np.ndarray, "batch length"]) -> Bool[np.ndarray, "batch vocab"]:
        now, found = dict[bytes, Any](), np.zeros((len(rows), size), bool)
        for place, row in enumerate(np.asarray(rows, np.int32)):
            text = row[row >= 0]
            matcher = now.setdefault(text.tobytes(), matcher_after(text))
            if not _is_over(matcher):
                found[place] = _allowed(matcher, size)
            # Where nothing may follow the text ends, allowed or not.
            found[place, end] |= not found[place].any()
        known[:] = [now, known[0]]
        return found

    return HostRule(masks, lambda row: bool(matcher_after(row).is_accepting()))


def _allowed(matcher: Any, size: int) -> Bool[np.ndarray, " vocab"]:
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    return np.unpackbits(bits, bitorder="little")[:size].astype(bool)


def _is_over(matcher: Any) -> bool:
    return bool(matcher.is_stopped() or matcher.is_error())
