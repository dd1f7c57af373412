"""World of short product reviews whose sentiment is decidable: by negation, contrast, and the last word.

Texts are bytes as tokens, between boundaries (256) and padded by -1, as those of ``aigc_jax.data.tokenizer.bytes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from aigc_jax.rng import example_keys, split_by_name
from aigc_jax.types import Condition, World

BOUNDARY, PAD = 256, -1
LENGTH = 96
"""Tokens of an example after its first one."""

SENTIMENTS = ("negative", "positive")
DOMAINS = {
    "phone": ("screen", "battery", "camera"),
    "hotel": ("room", "pool", "breakfast"),
    "bank": ("app", "card", "support"),
    "film": ("plot", "cast", "music"),
}
"""``{domain: what its reviews speak of}``."""

POSITIVE, NEGATIVE = ("good", "great", "lovely", "superb"), ("bad", "poor", "awful", "dull")
NEGATIONS, INTENSITIES = ("", "not "), ("", "quite ", "very ", "really ")
CONTINUATIONS = (".", " and the ", ", but the ")
VIOLATIONS = ("valid", "wrong conjunction", "mixed domains", "repeated aspect", "malformed")
"""Conjunctions: *and* joins clauses of one sentiment, *but* those of opposite ones."""

_ASPECTS = [aspect for aspects in DOMAINS.values() for aspect in aspects]
_NUM_ASPECTS = 3
_CLAUSE = (NEGATIONS, INTENSITIES, (*POSITIVE, *NEGATIVE))
_WORDS = (
    [f"The {aspect} is " for aspect in _ASPECTS],
    *_CLAUSE,
    CONTINUATIONS,
    [f"{aspect} is " for aspect in _ASPECTS],
    *_CLAUSE,
    (".",),
)
"""The ten places of a review, and what may stand in each; after a full stop at place 4 nothing follows."""

_FIRST, _CONTINUATION, _SECOND = 0, 4, 5


class _Pieces(NamedTuple):
    """What may stand in one place, as bytes."""

    tokens: Int[np.ndarray, "num width"]  # padded by -1
    length: Int[np.ndarray, " num"]


def reviews(*, weights: Sequence[float] = (0.5, 0.5), name: str = "world:reviews") -> World:
    """World of reviews of one or two clauses, "The room is not very good, but the pool is lovely.".

    The sentiment is that of the last clause: after *but* the second one decides. A negation turns an adjective round.
    So neither a word nor a pair of words decides alone.

    Args:
        weights: probabilities of negative and positive reviews.
        name: of the world.

    Returns:
        The world; its examples are int32 [N, 97], its modes the sentiments.

    >>> world = reviews()
    >>> examples = world.sample(jax.random.key(0), 2, jnp.array([0, 1]))
    >>> world.mode(examples).tolist(), world.violation(examples).tolist()
    ([0, 1], [0, 0])
    """
    log_weights = np.log(np.asarray(weights) / np.sum(weights))

    def sample(key: Array, num_samples: int, condition: Condition) -> Array:
        keys = split_by_name(example_keys(key, num_samples), "sentiment", "words")
        drawn = jax.vmap(lambda key: jax.random.categorical(key, jnp.asarray(log_weights, jnp.float32)))
        sentiment = drawn(keys["sentiment"]) if condition is None else jnp.asarray(condition)
        return _write(jax.vmap(_draw)(keys["words"], sentiment.astype(jnp.int32)))

    def mode(examples: Array) -> Int[Array, " num"]:
        return jnp.maximum(_sentiment(_read(examples)[0]), 0)

    def log_prob(examples: Array) -> Array:
        choices, _ = _read(examples)
        is_single = choices[:, _CONTINUATION] == 0
        # Domain, aspect, continuation; negation, intensity and one of four adjectives of each clause; the other aspect.
        clause = np.log(2.0 * 4 * 4)
        found = -np.log(4.0 * 3 * 3) - clause - jnp.where(is_single, 0.0, np.log(2.0) + clause)
        known = jnp.asarray(log_weights, jnp.float32)[jnp.maximum(_sentiment(choices), 0)]
        return jnp.where(_violation(choices) == 0, found + known, -jnp.inf)

    def read(examples: Array) -> dict[str, Int[Array, " num"]]:
        choices, _ = _read(examples)
        is_legal = _violation(choices) == 0
        seen = {
            "sentiment": _sentiment(choices),
            "domain": choices[:, _FIRST] // _NUM_ASPECTS,
            "contrast": (choices[:, _CONTINUATION] == 2).astype(jnp.int32),
        }
        return {attribute: jnp.where(is_legal, values, -1) for attribute, values in seen.items()}

    return World(
        name,
        2,
        (np.asarray(weights) / np.sum(weights)).tolist(),
        VIOLATIONS,
        sample=sample,
        violation=lambda examples: _violation(_read(examples)[0]),
        mode=mode,
        modality="tokens",
        log_prob=log_prob,
        attributes={"sentiment": SENTIMENTS, "domain": tuple(DOMAINS), "contrast": ("no", "yes")},
        mode_attributes={"sentiment": np.arange(2, dtype=np.int32)},
        read=read,
        mode_names=SENTIMENTS,
    )


def deciding_words(examples: Int[Array, "num length"]) -> Bool[Array, "num length"]:
    """The tokens that decide the sentiment of each review: negation and adjective of its last clause."""
    choices, starts = _read(jnp.asarray(examples))
    first = jnp.where(choices[:, _CONTINUATION] == 0, _FIRST, _SECOND) + 1
    place = jnp.arange(examples.shape[1])[None]

    def within(slot: Int[Array, " num"]) -> Bool[Array, "num length"]:
        low, high = (jnp.take_along_axis(starts, (slot + end)[:, None], axis=1) for end in (0, 1))
        return (place >= low) & (place < high)

    is_read = (choices[:, _FIRST] >= 0) & (_violation(choices) != VIOLATIONS.index("malformed"))
    return (within(first) | within(first + 2)) & is_read[:, None]


def _pieces(texts: Sequence[str]) -> _Pieces:
    rows = [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]
    width = max(map(len, rows))
    padded = [np.pad(row, (0, width - len(row)), constant_values=PAD) for row in rows]
    return _Pieces(np.stack(padded), np.array([len(row) for row in rows], np.int32))


_PIECES = [_pieces(texts) for texts in _WORDS]


def _draw(key: Array, sentiment: Int[Array, ""]) -> Int[Array, " slot"]:
    """What stands in each place of one review of a sentiment; -1 for nothing."""
    keys = split_by_name(key, "domain", "aspect", "other", "continuation", "clause")

    def uniform(key: Array, num: int) -> Array:
        return jax.random.randint(key, (), 0, num)

    domain, aspect = uniform(keys["domain"], len(DOMAINS)), uniform(keys["aspect"], _NUM_ASPECTS)
    other = (aspect + 1 + uniform(keys["other"], _NUM_ASPECTS - 1)) % _NUM_ASPECTS
    continuation = uniform(keys["continuation"], len(CONTINUATIONS))
    is_single = continuation == 0
    first = jnp.where(continuation == 2, 1 - sentiment, sentiment)
    clauses = []
    for clause_key, wanted in zip(jax.random.split(keys["clause"]), (first, sentiment), strict=True):
        each = jax.random.split(clause_key, 3)
        is_negated = uniform(each[0], len(NEGATIONS))
        is_bad = (wanted == is_negated).astype(jnp.int32)  # a negated bad word is positive
        clauses.append([is_negated, uniform(each[1], len(INTENSITIES)), uniform(each[2], 4) + 4 * is_bad])
    second = [_NUM_ASPECTS * domain + other, *clauses[1], jnp.int32(0)]
    tail = [jnp.where(is_single, -1, choice) for choice in second]
    return jnp.stack([_NUM_ASPECTS * domain + aspect, *clauses[0], continuation, *tail])


def _write(choices: Int[Array, "num slot"]) -> Int[Array, "num length"]:
    """Reviews as tokens."""
    num = len(choices)
    tokens = jnp.full((num, LENGTH + 1), PAD, jnp.int32).at[:, 0].set(BOUNDARY)
    place, rows = jnp.ones(num, jnp.int32), jnp.arange(num)[:, None]
    for slot, pieces in enumerate(_PIECES):
        chosen = jnp.maximum(choices[:, slot], 0)
        length = jnp.where(choices[:, slot] < 0, 0, jnp.asarray(pieces.length)[chosen])
        within = jnp.arange(pieces.tokens.shape[1])[None]
        target = jnp.where(within < length[:, None], place[:, None] + within, LENGTH + 1)
        tokens = tokens.at[rows, target].set(jnp.asarray(pieces.tokens)[chosen], mode="drop")
        place = place + length
    return tokens.at[jnp.arange(num), place].set(BOUNDARY, mode="drop")


def _read(examples: Int[Array, "num length"]) -> tuple[Int[Array, "num slot"], Int[Array, "num end"]]:
    """What stands in each place, -1 for nothing that may; and where each place begins, and the last one ends.

    The first choice is -1 where the text goes on after its end, or does not begin with a boundary.
    """
    tokens = jnp.asarray(examples).astype(jnp.int32)
    num, length = tokens.shape
    # A sample ends with padding alone, an example with a boundary.
    tokens = tokens.at[:, 1:].set(jnp.where(tokens[:, 1:] == BOUNDARY, PAD, tokens[:, 1:]))
    place, choices, starts = jnp.ones(num, jnp.int32), list[Array](), list[Array]()
    for slot, pieces in enumerate(_PIECES):
        starts.append(place)
        at = place[:, None] + jnp.arange(pieces.tokens.shape[1])[None]
        window = jnp.where(at < length, jnp.take_along_axis(tokens, jnp.minimum(at, length - 1), axis=1), PAD)
        options = jnp.asarray(pieces.tokens)[None]
        is_match = ((options == window[:, None]) | (options == PAD)).all(axis=2)
        # Of several the longest: an empty word is one only where no other is.
        best = jnp.argmax(jnp.where(is_match, 1 + jnp.asarray(pieces.length)[None], 0), axis=1).astype(jnp.int32)
        found = jnp.where(is_match.any(axis=1), best, -1)
        if slot >= _SECOND:
            found = jnp.where(choices[_CONTINUATION] == 0, -1, found)
        choices.append(found)
        place = place + jnp.where(found < 0, 0, jnp.asarray(pieces.length)[best])
    starts.append(place)
    ends_there = jnp.where(jnp.arange(length)[None] >= place[:, None], tokens == PAD, True).all(axis=1)
    choices[_FIRST] = jnp.where((tokens[:, 0] == BOUNDARY) & ends_there, choices[_FIRST], -1)
    return jnp.stack(choices, axis=1), jnp.stack(starts, axis=1)


def _polarity(choices: Array, first: int) -> Int[Array, " num"]:
    """The sentiment of the clause whose aspect is at a place: 0 or 1."""
    is_bad, is_negated = choices[:, first + 3] >= len(POSITIVE), choices[:, first + 1] == 1
    return (is_bad == is_negated).astype(jnp.int32)


def _sentiment(choices: Array) -> Int[Array, " num"]:
    return jnp.where(choices[:, _CONTINUATION] == 0, _polarity(choices, _FIRST), _polarity(choices, _SECOND))


def _violation(choices: Array) -> Int[Array, " num"]:
    is_single = choices[:, _CONTINUATION] == 0
    is_malformed = (choices[:, :_SECOND] < 0).any(axis=1) | (~is_single & (choices[:, _SECOND:] < 0).any(axis=1))
    first, second = choices[:, _FIRST], choices[:, _SECOND]
    is_same = _polarity(choices, _FIRST) == _polarity(choices, _SECOND)
    is_wrong = [
        is_same != (choices[:, _CONTINUATION] == 1),
        first // _NUM_ASPECTS != second // _NUM_ASPECTS,
        first == second,
    ]
    found = jnp.zeros(len(choices), jnp.int32)
    for number, wrong in enumerate(is_wrong, start=1):
        found = jnp.where(wrong & ~is_single, number, found)
    return jnp.where(is_malformed, len(VIOLATIONS) - 1, found)
