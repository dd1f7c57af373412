"""Measures of texts compared with scipy and scikit-learn, and with counts by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import f1_score

from aigc_jax.metrics.text import distinct, ngram_distance, ngram_overlap, repetition, self_bleu, token_f1


def texts(seed, num=30):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 6 + seed, rng.integers(0, 12)).tolist() for _ in range(num)]


@pytest.mark.parametrize("n", [1, 2])
def test_ngram_distance_is_that_of_scipy(n):
    sides = texts(0), texts(3)
    grams = [[tuple(row[i : i + n]) for row in side for i in range(len(row) - n + 1)] for side in sides]
    names = sorted({*grams[0], *grams[1]})
    counts = [[side.count(name) for name in names] for side in grams]
    assert ngram_distance(*sides, n) == pytest.approx(jensenshannon(*counts, base=2), abs=1e-12)
    assert np.isnan(ngram_distance([[]], [[1]]))


def test_repetition_counts_ngrams_that_came_before():
    rows = texts(1)
    for row, found in zip(rows, repetition(rows, 2), strict=True):
        grams = [tuple(row[i : i + 2]) for i in range(len(row) - 1)]
        again = [gram in grams[:i] for i, gram in enumerate(grams)]
        assert found == pytest.approx(np.mean(again) if grams else 0.0)
    assert repetition([[7] * 100], 4)[0] > 0.98


def test_distinct_of_one_text_again_and_again_falls_as_one_over_their_number():
    text = list(range(10))
    assert [distinct([text] * num, 3) for num in (1, 2, 5)] == pytest.approx([1, 1 / 2, 1 / 5])


def test_token_f1_of_sets_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, (2, 20, 9))
    words = [[np.flatnonzero(row).tolist() for row in side] for side in (predicted, labels)]
    expected = [f1_score(a, b, zero_division=1.0) for a, b in zip(labels, predicted, strict=True)]
    np.testing.assert_allclose(token_f1(*words), expected)
    assert token_f1([["a", "a", "b"]], [["a", "b", "b"]]).tolist() == pytest.approx([2 / 3])  # bags, not sets


def test_self_bleu_of_two_texts_is_the_bleu_of_papineni():
    """Example 2 of Papineni et al. 2002: "the" 7 times has a modified unigram precision of 2/7."""
    texts = [["the", "the", "the", "the", "the", "the", "the"], ["the", "cat", "is", "on", "the", "mat"]]
    first = 2 / 7  # the longer one: no brevity penalty
    second = 2 / 6 * np.exp(1 - 7 / 6)  # two of "the" are in the other text
    assert self_bleu(texts, n=1) == pytest.approx((first + second) / 2)


def test_self_bleu_takes_the_best_of_several_references():
    texts = [["a", "b"], ["a", "c"], ["b", "d"]]
    # Of "a b" both words occur elsewhere, of the others one of two each.
    assert self_bleu(texts, n=1) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert np.isnan(self_bleu(texts[:1]))


def test_ngram_overlap_counts_runs_of_the_training_text():
    training = [str(i) for i in range(100)]
    assert ngram_overlap([training[5:20], ["x", *training[:8]], []], training).tolist() == [1.0, 0.5, 0.0]
