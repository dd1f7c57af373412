"""Writers of a small language with one fault each, and a perfect one: the language itself.

Words follow each other as a Markov chain; one marker word decides the class of a text.
"""

import functools

import numpy as np

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.text import text_modality
from aigc_jax.data.tokenizer import PAD, make_tokenizer
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.judge import classifier_judge
from aigc_jax.evaluation.model import EvaluatedModel, Replication
from aigc_jax.evaluation.section import Settings
from aigc_jax.types import Data

NUM_SAMPLES, NUM_WORDS, LENGTH = 1500, 12, 80
CLASS_NAMES = ["sad", "glad"]
TOKENIZER = make_tokenizer("chars", ["abcdefghijklmnopqrstuvwxyz "])
MODALITY = text_modality(TOKENIZER)
_generator = np.random.default_rng(5)
WORDS = ["".join(_generator.choice(list("abcdefghijklmnop"), size)) for size in _generator.integers(2, 7, 300)]
FOLLOWING = _generator.integers(len(WORDS), size=(len(WORDS), 12))
SHARES = 1 / np.arange(1, 13) / (1 / np.arange(1, 13)).sum()
PROJECTION = _generator.normal(size=(len(WORDS), 8))


@functools.cache
def written(stream, i, label):
    """Text i of one of several streams: a tuple of words."""
    rng = np.random.default_rng([stream, i])
    word, found = int(rng.integers(len(WORDS))), []
    for choice in rng.choice(12, NUM_WORDS - 1, p=SHARES):
        found.append(WORDS[word])
        word = int(FOLLOWING[word, choice])
    found.insert(int(rng.integers(NUM_WORDS)), CLASS_NAMES[label])
    return tuple(found)


def as_tokens(texts):
    rows = [TOKENIZER.encode(" ".join(words))[:LENGTH] for words in texts]
    return np.stack([np.pad(row, (0, LENGTH - len(row)), constant_values=PAD) for row in rows]).astype(np.int32)


def source(stream, num):
    labels = np.arange(num) % 2
    texts = [written(stream, i, label) for i, label in enumerate(labels)]
    return ArraySource(as_tokens(texts), labels.astype(np.int32), name=MODALITY.name)


@functools.cache
def data():
    return Data("a small language", source(0, 3000), source(1, 1500), CLASS_NAMES)


def encode(tokens):
    """The class that the marker names; the direction of the mean of a text's words as features."""
    number = {word: i for i, word in enumerate(WORDS)}
    counts, is_glad = np.zeros((len(tokens), len(WORDS))), np.zeros(len(tokens), int)
    for row, text in enumerate(MODALITY.texts(tokens)):
        words = text.split()
        is_glad[row] = "glad" in words
        for word in words:
            if word in number:
                counts[row, number[word]] += 1
    features = counts @ PROJECTION
    return {"logits": 10 * np.eye(2)[is_glad], "features": features / np.linalg.norm(features, axis=1, keepdims=True)}


def writer(change):
    """A sampler of texts by ``change(i, label) -> words``."""
    return lambda start, condition, num: as_tokens([change(start + j, int(condition[j])) for j in range(num)])


def perfect(i, label):
    return written(2, i, label)


def copying(i, label):
    """One text in twenty is a training text of its class."""
    return written(0, i // 2 * 2 + label, label) if i // 2 % 20 == 0 else perfect(i, label)


def ignoring(i, label):
    """One text in ten is of a class drawn at random."""
    return perfect(i, int(np.random.default_rng([9, i]).integers(2)) if i // 2 % 10 == 0 else label)


def repeating(i, label):
    """Two texts in five say their first half twice."""
    words = perfect(i, label)
    return (CLASS_NAMES[label], *words[: NUM_WORDS // 2 - 1]) * 2 if i // 2 % 5 < 2 else words


def reusing(i, label):
    """One text in twenty has the key of the one before of its class."""
    return perfect(i - 2 if i // 2 % 20 == 1 else i, label)


def report_of(change):
    sample_fn = writer(change)
    model = EvaluatedModel(sample_fn, 2, MODALITY, replications=[Replication("once more", sample_fn)])
    judge = classifier_judge("the marker", encode, CLASS_NAMES, MODALITY)
    return evaluate(model=model, judge=judge, data=data(), settings=Settings(NUM_SAMPLES, 0, 0)).report
