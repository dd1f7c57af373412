"""The world of grammar: its texts are right by readers of others, its probabilities are those of its own draws."""

import json
import re

import jax
import numpy as np
import pytest
from scipy import stats

from aigc_jax.data.tokenizer import words_tokenizer
from aigc_jax.rng import example_keys
from aigc_jax.worlds.grammar import KEYS, LENGTH, VIOLATIONS, grammar_automaton
from tests.worlds.opened import NUM, fast_jit, opened

TOKENIZER = words_tokenizer(opened("grammar").world.vocabulary)


def tokens_of(text, end=TOKENIZER.boundary):
    row = np.full(LENGTH + 8, -1, np.int32)
    tokens = TOKENIZER.encode(text)
    row[: len(tokens) + 2] = [TOKENIZER.boundary, *tokens, end]
    return row


def is_right(text):
    """By Python's own readers."""
    if text[0] == "{":
        found = json.loads(text)
        return (
            list(found) == sorted(found)
            and set(found) <= set(KEYS)
            and json.dumps(found, separators=(",", ":")) == text
        )
    if text[0].isdigit():
        first, second, result = map(int, re.fullmatch(r"(\d{1,2})\+(\d{1,2})=(\d{1,3})", text).groups())
        return first + second == result
    while text != (text := text.replace("()", "").replace("[]", "")):
        pass
    return not text


@pytest.mark.slow
def test_grammar_texts_are_right():
    texts = [TOKENIZER.decode(row) for examples in opened("grammar").examples() for row in np.asarray(examples)]
    assert all(is_right(text) for text in texts)
    assert len({text for text in texts if text[0] == "{"}) > NUM / 8
    assert max(len(text) for text in texts) < LENGTH


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("47+85=132", "valid"),
        ("0+0=0", "valid"),
        ("47+85=122", "wrong result"),
        ("47+85=13", "wrong result"),
        ("47+85=1320", "malformed"),
        ("47+85=0", "wrong result"),
        ("47+85=032", "malformed"),
        ("0+0=00", "malformed"),
        ("1+2=33", "wrong result"),
        ("07+85=92", "malformed"),
        ("47+85=", "unfinished"),
        ("47+", "unfinished"),
        ("", "unfinished"),
        ("([])[]", "valid"),
        ("([)]", "malformed"),
        ("([]", "unfinished"),
        (")", "malformed"),
        ("((((()))))", "malformed"),
        ('{"a":12,"c":[3,4]}', "valid"),
        ('{"a":12,"c":[3,4]', "unfinished"),
        ('{"c":12,"a":1}', "malformed"),
        ('{"a":012}', "malformed"),
        ('{"b":nul}', "malformed"),
        ('{"b":null}', "valid"),
        ("{}", "malformed"),
        ('{"a":1}()', "malformed"),
    ],
)
def test_grammar_violation_of_planted_texts(text, violation):
    given = [tokens_of(text), tokens_of(text, -1)]
    assert opened("grammar").names(given) == [violation] * 2
    assert opened("grammar").names([np.roll(given[0], -1)]) == ["malformed"]


def test_grammar_probabilities_sum_to_one_in_every_state_and_over_all_sums():
    automaton = grammar_automaton()
    total = np.exp(automaton.log_weight.astype(np.float64)).sum(axis=1)
    is_wrong = automaton.outcome == VIOLATIONS.index("wrong result")
    # A wrong result is never written, so its states need not be left.
    np.testing.assert_allclose(total[~is_wrong], 1.0, atol=1e-6)
    sums = [tokens_of(f"{a}+{b}={a + b}")[:12] for a in range(0, 100, 9) for b in range(0, 100, 7)]
    log_prob = np.asarray(fast_jit(opened("grammar").world.log_prob)(np.stack(sums)))
    np.testing.assert_allclose(np.exp(log_prob), 1 / 3 / 10_000, rtol=1e-4)


def test_grammar_log_prob_is_the_share_of_its_draws():
    world, num = opened("grammar").world, 4000
    draw = fast_jit(lambda keys: world.sample(keys, num, jax.numpy.zeros(num, jax.numpy.int32)))
    texts = [TOKENIZER.decode(row) for row in np.asarray(draw(example_keys(jax.random.key(3), num)))]
    for text, expected in (("()", 1 / 8), ("[]()", 1 / 64), ("([])", 1 / 64), ('{"a":1}', 0.0)):
        log_prob = float(fast_jit(world.log_prob)(tokens_of(text)[None])[0]) + np.log(3)
        if expected:
            assert np.exp(log_prob) == pytest.approx(expected, rel=1e-5)
            assert stats.binomtest(texts.count(text), num, expected).pvalue > 1e-4
        else:
            assert text not in texts
