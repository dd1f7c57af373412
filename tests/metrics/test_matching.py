"""Longest matches compared with a search through the text."""

import numpy as np
import pytest

from aigc_jax.metrics.matching import longest_matches
from aigc_jax.types import UsageError


def searched(stream, sequences):
    text, found = bytes(stream.tolist()), []
    for row in sequences:
        runs = [
            bytes(row[i:j].tolist())
            for i in range(len(row))
            for j in range(i + 1, len(row) + 1)
            if (row[i:j] >= 0).all()
        ]
        found.append(max((len(run) for run in runs if run in text), default=0))
    return found


@pytest.mark.parametrize("vocab_size", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9])
def test_longest_matches_are_those_of_a_search(vocab_size, length):
    rng = np.random.default_rng(length)
    stream = rng.integers(0, vocab_size, 60)
    sequences = rng.integers(-1, vocab_size, (20, length))
    assert longest_matches(stream, sequences).tolist() == searched(stream, sequences)


def test_longest_match_of_a_copy_is_its_length():
    rng = np.random.default_rng(0)
    stream = rng.integers(0, 256, 5000).astype(np.uint16)
    sequences = rng.integers(0, 256, (4, 100))
    sequences[1] = stream[777:877]
    sequences[2, 30:70] = stream[-40:]
    found = longest_matches(stream, sequences)
    assert found[1:3].tolist() == [100, 40]
    assert max(found[0], found[3]) < 5


def test_longest_matches_of_nothing_are_zero():
    assert longest_matches(np.zeros(0, int), np.zeros((2, 3), int)).tolist() == [0, 0]
    assert longest_matches(np.zeros(5, int), np.full((2, 3), -1)).tolist() == [0, 0]


def test_longest_matches_refuse_other_arrays():
    with pytest.raises(UsageError, match="expected integers"):
        longest_matches(np.zeros(5), np.zeros((2, 3)))
