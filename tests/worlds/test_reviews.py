"""The world of reviews: what it writes is read back, and every kind of violation is seen."""

import re

import numpy as np
import pytest
from scipy import stats

from aigc_jax.worlds.reviews import BOUNDARY, LENGTH, PAD, VIOLATIONS, deciding_words
from tests.worlds.opened import NUM, fast_jit, opened

GOOD, BAD = "good|great|lovely|superb", "bad|poor|awful|dull"
CLAUSE = rf"[Tt]he (\w+) is (not )?(?:quite |very |really )?(?:({GOOD})|({BAD}))"


def tokens_of(text, end=BOUNDARY):
    row = np.full(LENGTH + 1, PAD, np.int32)
    row[: len(text) + 2] = [BOUNDARY, *text.encode(), end]
    return row


def text_of(row):
    return bytes(row[(row >= 0) & (row != BOUNDARY)].astype(np.uint8)).decode()


def expected(text):
    """Sentiment by a regular expression: of the last clause, turned round by a negation."""
    _, negation, good, _ = re.findall(CLAUSE, text)[-1]
    return int(bool(good) != bool(negation))


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_reviews_have_the_sentiment_that_a_regular_expression_reads(place):
    examples = np.asarray(opened("reviews").examples()[place])
    texts = [text_of(row) for row in examples]
    assert all(re.fullmatch(rf"{CLAUSE}(?:(?:,| and| but)+ {CLAUSE})?\.", text) for text in texts)
    assert opened("reviews").judged(examples)[1] == [expected(text) for text in texts]
    for text in texts:
        if len(found := re.findall(CLAUSE, text)) == 2:
            signs = {bool(good) != bool(negation) for _, negation, good, _ in found}
            assert (len(signs) == 2) == (", but the" in text)


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("The room is good.", "valid"),
        ("The room is not very good, but the pool is lovely.", "valid"),
        ("The room is good, but the pool is lovely.", "wrong conjunction"),
        ("The room is good and the pool is not lovely.", "wrong conjunction"),
        ("The room is good and the screen is lovely.", "mixed domains"),
        ("The room is good and the room is lovely.", "repeated aspect"),
        ("The room is very not good.", "malformed"),
        ("The room is good", "malformed"),
        ("The room is good. ", "malformed"),
        ("The room is good.The room is good.", "malformed"),
        ("The room is good and the pool is lovely.x", "malformed"),
        ("Room", "malformed"),
        ("", "malformed"),
    ],
)
def test_reviews_violation_of_planted_texts(text, violation):
    # A sample ends without a boundary, an example with one; a text without a first boundary is none.
    assert opened("reviews").names([tokens_of(text), tokens_of(text, PAD)]) == [violation] * 2
    assert opened("reviews").names([np.roll(tokens_of(text), -1)]) == ["malformed"]


def test_reviews_log_prob_sums_to_one_over_single_clauses_and_is_minus_infinity_elsewhere():
    world = opened("reviews").world
    rows = [tokens_of(f"The {aspect} is {negation}{intensity}{adjective}.")
            for aspect in ("room", "app") for negation in ("", "not ")
            for intensity in ("", "quite ", "very ", "really ") for adjective in ("good", "dull")]  # fmt: skip
    log_prob = np.asarray(fast_jit(world.log_prob)(np.stack([*rows, tokens_of("The room is.")])))
    # A third of all reviews is of one clause: twelve aspects, eight adjectives, eight ways before them.
    np.testing.assert_allclose(np.exp(log_prob[:-1]), 1 / 3 / (12 * 8 * 8), rtol=1e-5)
    assert log_prob[-1] == -np.inf
    drawn = np.asarray(fast_jit(world.log_prob)(opened("reviews").examples()[0]))
    num_single = int((drawn > np.log(1 / 3 / (12 * 8 * 8)) - 0.1).sum())
    assert stats.binomtest(num_single, NUM, 1 / 3).pvalue > 1e-4


def test_reviews_read_domains_and_deciding_words():
    texts = ["The app is not very good.", "The plot is not bad, but the cast is not quite superb.", "The app"]
    rows = np.stack([tokens_of(text) for text in texts])
    found = {name: np.asarray(values).tolist() for name, values in fast_jit(opened("reviews").world.read)(rows).items()}
    assert found == {"sentiment": [0, 0, -1], "domain": [2, 3, -1], "contrast": [0, 1, -1]}
    marks = np.asarray(fast_jit(deciding_words)(rows))
    assert [bytes(row[mark].astype(np.uint8)) for row, mark in zip(rows, marks, strict=True)] == [
        b"not good",
        b"not superb",
        b"",
    ]
    assert VIOLATIONS[0] == "valid"
