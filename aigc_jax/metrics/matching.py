"""Longest matches of sequences with a training text: verbatim copies, found in one sort of all suffixes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Integer

from aigc_jax.types import UsageError


def longest_matches(
    stream: Integer[np.ndarray, " size"], sequences: Integer[np.ndarray, "num length"]
) -> Int[np.ndarray, " num"]:
    """The length of the longest run of tokens of each sequence that occurs in a stream.

    Args:
        stream: training tokens >= 0.
        sequences: tokens >= 0, padded by negative ones, which match nothing.

    Returns:
        Number of tokens, int64 [num].

    Raises:
        UsageError: arrays of other shapes, or of no integers.

    Reference:
        Manber and Myers, "Suffix Arrays: A New Method for On-Line String Searches", 1993: ranks of runs of 2^k tokens
        by doubling, in which the longest common prefix of two places is found.

    >>> longest_matches(np.array([1, 2, 3, 4]), np.array([[9, 2, 3], [4, 1, -1]])).tolist()
    [2, 1]
    """
    stream, sequences = np.asarray(stream), np.asarray(sequences)
    if (
        stream.ndim != 1
        or sequences.ndim != 2
        or not all(np.issubdtype(a.dtype, np.integer) for a in (stream, sequences))
    ):
        raise UsageError(
            f"expected integers [size] and [num, length], got {stream.dtype} {list(stream.shape)} and "
            f"{sequences.dtype} {list(sequences.shape)}: convert them"
        )
    num, length = sequences.shape
    if not num or not len(stream) or not length:
        return np.zeros(num, np.int64)
    # One text of all: whatever ends a match (padding, ends) has a number of its own that occurs nowhere else.
    ended = np.concatenate([sequences, np.full((num, 1), -1)], axis=1).ravel().astype(np.int64)
    text = np.concatenate([stream.astype(np.int64), [-1], ended])
    is_end = text < 0
    text[is_end] = text.max() + 1 + np.arange(is_end.sum())
    levels = _ranks(text, length)
    order = np.argsort(levels[-1], kind="stable")
    is_stream = order < len(stream)
    place = np.arange(len(order))
    before = np.maximum.accumulate(np.where(is_stream, place, -1))
    after = np.minimum.accumulate(np.where(is_stream, place, len(order))[::-1])[::-1]
    found = np.zeros(len(text), np.int64)
    for nearest in (before, after):
        has = (nearest >= 0) & (nearest < len(order)) & ~is_stream
        here, there = order[has], order[nearest[has]]
        found[here] = np.maximum(found[here], _common_prefix(levels, here, there))
    return found[len(stream) + 1 :].reshape(num, length + 1).max(axis=1)


def _ranks(text: np.ndarray, length: int) -> list[np.ndarray]:
    """Of each k the rank of the run of 2^k tokens at each place, equal for equal runs; up to the length."""
    levels, size = [np.unique(text, return_inverse=True)[1].astype(np.int64)], 1
    while size < length:
        own = levels[-1]
        # Beyond the end of all there is nothing: less than any rank.
        following = np.concatenate([own[size:] + 1, np.zeros(min(size, len(own)), np.int64)])[: len(own)]
        keys = own * (int(own.max()) + 2) + following
        levels.append(np.unique(keys, return_inverse=True)[1].astype(np.int64))
        size *= 2
    return levels


def _common_prefix(levels: list[np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The length of the longest common prefix of the text at two places each."""
    found, end = np.zeros(len(one), np.int64), len(levels[0])
    for k in reversed(range(len(levels))):
        first, second = one + found, other + found
        is_inside = np.maximum(first, second) < end
        is_same = is_inside & (levels[k][np.minimum(first, end - 1)] == levels[k][np.minimum(second, end - 1)])
        found += np.where(is_same, 2**k, 0)
    return found
