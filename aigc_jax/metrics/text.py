"""Repetition, distinct n-grams and overlap of texts, each a sequence of words or of token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

Words = Sequence[Hashable]
"""The words of one text."""


def ngrams(words: Words, n: int) -> list[tuple[Hashable, ...]]:
    """All n-grams of a text, in order.

    >>> ngrams("to be or".split(), 2)
    [('to', 'be'), ('be', 'or')]
    """
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def repetition(texts: Sequence[Words], n: int = 4) -> Float[np.ndarray, " num"]:
    """The share of each text's n-grams that repeat an earlier one; 0 of a text without any.

    Reference:
        Welleck et al., "Neural Text Generation with Unlikelihood Training", 2020, section 6.1 (seq-rep-n).

    >>> repetition(["a b a b a b".split(), "a b c".split()], n=2).tolist()
    [0.6, 0.0]
    """
    found = [ngrams(words, n) for words in texts]
    return np.array([1 - len(set(each)) / len(each) if each else 0.0 for each in found])


def distinct(texts: Sequence[Words], n: int) -> float:
    """The share of different n-grams among all n-grams of a set of texts; NaN for none.

    It falls with the number of texts: compare sets of one size.

    Reference:
        Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016, section 5.2.

    >>> distinct(["a b".split(), "a b".split(), "b c".split()], 2)
    0.6666666666666666
    """
    counts = Counter(gram for words in texts for gram in ngrams(words, n))
    total = sum(counts.values())
    return len(counts) / total if total else float("nan")


def ngram_overlap(texts: Sequence[Words], training: Words, n: int = 8) -> Float[np.ndarray, " num"]:
    """The share of each text's n-grams that occur in a training text; 0 of a text without any.

    Reference:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 4 (overlap of 8-grams).

    >>> ngram_overlap(["to be or to".split(), "to go".split()], "or not to be or".split(), n=2).round(2).tolist()
    [0.67, 0.0]
    """
    known = set(ngrams(training, n))
    found = [ngrams(words, n) for words in texts]
    return np.array([sum(gram in known for gram in each) / len(each) if each else 0.0 for each in found])


def self_bleu(texts: Sequence[Words], n: int = 4) -> float:
    """Mean BLEU of each text with all others as references: near 1 where texts repeat each other; NaN below 2 texts.

    Texts are not smoothed: one without a run of n words that another text has counts 0. It rises with the number of
    texts: compare sets of one size.

    Reference:
        Zhu et al., "Texygen: A Benchmarking Platform for Text Generation Models", 2018, section 3.2; Papineni et al.,
        "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002, equations 1 to 3.

    >>> self_bleu(["the cat sat on the mat".split()] * 3), self_bleu(["a b c d".split(), "e f g h".split()])
    (1.0, 0.0)
    """
    if len(texts) < 2:
        return float("nan")
    logs = np.zeros(len(texts))
    for size in range(1, n + 1):
        counts = [Counter(ngrams(words, size)) for words in texts]
        # How often each n-gram occurs in the text that has the most of it, and in the next one: a text is no reference
        # of its own.
        most: dict[tuple[Hashable, ...], tuple[int, int, int]] = {}
        for i, count in enumerate(counts):
            for gram, num in count.items():
                top, owner, second = most.get(gram, (0, -1, 0))
                most[gram] = (num, i, top) if num > top else (top, owner, max(second, num))
        for i, count in enumerate(counts):
            clipped = sum(min(num, most[g][2] if most[g][1] == i else most[g][0]) for g, num in count.items())
            total = sum(count.values())
            logs[i] += np.log(clipped / total) / n if clipped else -np.inf
    lengths = np.array([len(words) for words in texts])
    penalty = np.zeros(len(texts))
    for i, length in enumerate(lengths):
        others = np.delete(lengths, i)
        nearest = min(others, key=lambda other: (abs(other - length), other))
        penalty[i] = min(0.0, 1 - nearest / length) if length else -np.inf
    return float(np.exp(logs + penalty).mean())


def ngram_distance(ours: Sequence[Words], real: Sequence[Words], n: int = 1) -> float:
    """The Jensen-Shannon distance in [0, 1] of the frequencies of n-grams of two sets of texts, in bits; NaN for none.

    It falls with the number of texts: compare sets of one size.

    Reference:
        Lin, "Divergence Measures Based on the Shannon Entropy", 1991, equation 4.1, of which this is the root.

    >>> ngram_distance(["a b".split()], ["c d".split()]), ngram_distance(["a b".split()], ["b a".split()])
    (1.0, 0.0)
    """
    counts = [Counter(gram for words in texts for gram in ngrams(words, n)) for texts in (ours, real)]
    if not all(counts):
        return float("nan")
    names = list(counts[0].keys() | counts[1].keys())
    p, q = (np.array([each[name] for name in names]) / sum(each.values()) for each in counts)
    middle = (p + q) / 2
    bits = [np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])) for side in (p, q)]
    return float(np.sqrt(max(sum(bits) / 2, 0.0)))


def token_f1(predicted: Sequence[Words], expected: Sequence[Words]) -> Float[np.ndarray, " num"]:
    """The F1 score of each answer's words, as a bag, with respect to those expected; 1 where both are empty.

    Reference:
        Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, section 6.1.

    >>> token_f1(["the cat sat".split()], ["a cat sat down".split()]).round(3).tolist()
    [0.571]
    """
    scores = []
    for ours, theirs in zip(predicted, expected, strict=True):
        both = sum((Counter(ours) & Counter(theirs)).values())
        total = len(ours) + len(theirs)
        scores.append(2 * both / total if total else 1.0)
    return np.array(scores)
