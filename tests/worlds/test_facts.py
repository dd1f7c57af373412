"""The world of facts: its statements are those of its triples, with exact probabilities, and each violation is seen."""

import re

import jax
import numpy as np
import pytest
from scipy import stats

from aigc_jax.data.tokenizer import words_tokenizer
from aigc_jax.types import UsageError
from aigc_jax.worlds.facts import LENGTH, PAD, RELATIONS, VIOLATIONS, draw_facts
from tests.worlds.opened import NUM, fast_jit, opened

KNOWN = draw_facts()
TOKENIZER = words_tokenizer(KNOWN.vocabulary)
PERSON, OTHER = KNOWN.name(0), "Vera Wright"
CITY = RELATIONS["was born in"][KNOWN.answers[0, 0]]


def tokens_of(text, end=TOKENIZER.boundary):
    row = np.full(2 * LENGTH, PAD, np.int32)
    tokens = TOKENIZER.encode(text)
    row[: len(tokens) + 2] = [TOKENIZER.boundary, *tokens, end]
    return row


def test_facts_of_a_seed_are_always_the_same_and_names_are_of_one_person():
    assert (PERSON, "was born in", CITY) == KNOWN.triples()[0] == ("Adam Baker", "was born in", "Berlin")
    names = [KNOWN.name(person) for person in range(len(KNOWN.persons))]
    assert len(set(names)) == 1000
    assert OTHER not in names
    assert len(TOKENIZER.vocabulary) == TOKENIZER.boundary + 1 == KNOWN.boundary + 1 == 305


@pytest.mark.parametrize("place", [0, 1])
def test_facts_are_sentences_of_the_triples(place):
    examples = np.asarray(opened("facts").examples()[place])
    texts = [TOKENIZER.decode(row) for row in examples]
    pattern = rf"(\w+ \w+) ({'|'.join(RELATIONS)}) (\w+)\."
    assert {re.fullmatch(pattern, text).groups() for text in texts} <= set(KNOWN.triples())


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        (f"{PERSON} was born in {CITY}.", "valid"),
        (f"{PERSON} was born in Zagreb.", "false fact"),
        (f"{OTHER} was born in Zagreb.", "unknown person"),
        (f"{PERSON} was born in", "unfinished"),
        (PERSON, "unfinished"),
        ("Adam", "unfinished"),
        ("", "unfinished"),
        (f"{PERSON} was born in banjo.", "malformed"),
        (f"{PERSON}{PERSON}", "malformed"),
        (f"{PERSON} was born in {CITY}.Adam", "malformed"),
        (f"{PERSON} speaks {CITY}.", "malformed"),
        (" Baker was born in Zagreb.", "malformed"),
    ],
)
def test_facts_violation_of_planted_texts(text, violation):
    # A sample ends without a boundary, an example with one.
    given = [tokens_of(text), tokens_of(text, PAD)]
    assert opened("facts").names(given) == [violation] * 2
    assert opened("facts").names([np.roll(given[0], -1)]) == ["malformed"]
    assert set(VIOLATIONS) >= {violation}


def test_facts_violation_of_short_and_broken_samples():
    whole = tokens_of(f"{PERSON} was born in {CITY}.")
    violation = fast_jit(opened("facts").world.violation)
    cut = np.stack([whole[:5], tokens_of(PERSON)[:5]])
    assert [VIOLATIONS[index] for index in violation(cut)] == ["valid", "unfinished"]
    for place in (1, 3, 7):
        broken = np.where(np.arange(len(whole)) == place, 3, whole)
        broken[place - 1] = PAD
        assert opened("facts").names([broken]) == ["malformed"]


def test_facts_log_prob_is_that_of_zipf_and_of_one_answer_to_each_question():
    world = opened("facts").world
    statements = world.statements()
    assert statements.shape == (4000, 50, LENGTH + 1)
    rows = statements.reshape(-1, LENGTH + 1)
    assert len(np.unique(rows, axis=0)) == len(rows)
    log_prob = np.asarray(jax.jit(world.log_prob)(rows), np.float64).reshape(4000, 50)
    is_true = np.isfinite(log_prob)
    assert (is_true.sum(axis=1) == 1).all()
    weights = 1 / np.arange(1, 1001)
    np.testing.assert_allclose(np.exp(log_prob[is_true]), np.repeat(weights / weights.sum() / 4, 4), rtol=1e-5)
    texts = {TOKENIZER.decode(row) for row in statements[is_true]}
    assert texts == {f"{person} {relation} {value}." for person, relation, value in KNOWN.triples()}


def test_facts_speak_of_persons_by_their_popularity():
    person = {KNOWN.name(number): number for number in range(1000)}
    drawn = [" ".join(TOKENIZER.decode(row).split()[:2]) for row in np.asarray(opened("facts").examples()[0])]
    counts = np.bincount([min(person[name], 20) for name in drawn], minlength=21)
    shares = np.append(KNOWN.popularity[:20], KNOWN.popularity[20:].sum())
    assert stats.chisquare(counts, NUM * shares).pvalue > 1e-4


def test_facts_questions_are_the_beginnings_of_statements():
    questions, statements = KNOWN.questions(), KNOWN.statements()
    np.testing.assert_array_equal(statements[:, 7, :4], questions)
    np.testing.assert_array_equal(statements[:, :, 4], KNOWN.values())
    assert TOKENIZER.decode(questions[1]) == f"{PERSON} speaks"


@pytest.mark.parametrize("given", [{"num_persons": 2501}, {"num_values": 1}, {"exponent": -1.0}, {"num_persons": 0}])
def test_facts_out_of_range_are_refused(given):
    with pytest.raises(UsageError, match="expected 1 to 2500 persons"):
        draw_facts(**given)
