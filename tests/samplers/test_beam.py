"""Beam search compared with the enumeration of all sequences of a Markov chain."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from aigc_jax.samplers.beam import beam_search
from aigc_jax.samplers.decoding import chain, penalties
from aigc_jax.types import SequenceModel

TABLE = np.random.default_rng(5).normal(size=(4, 4)).astype(np.float32)
END, LENGTH = 3, 4


def markov():
    """A chain whose cache is the last token."""

    def prefill(prompt, size):
        last = jnp.take_along_axis(prompt, jnp.sum(prompt >= 0, axis=1)[:, None] - 1, axis=1)[:, 0]
        return jnp.asarray(TABLE)[last], last

    return SequenceModel(prefill, lambda cache, token: (jnp.asarray(TABLE)[token], token))


def found(prompt, num_beams, processor=None):
    processor = chain() if processor is None else processor
    search = jax.jit(
        lambda prompt: beam_search(markov(), prompt, length=LENGTH, end=END, num_beams=num_beams, processor=processor)
    )
    return search(jnp.asarray(prompt, jnp.int32))


def sequences(first):
    """Each sequence after a token, up to its end, with its log-probability."""
    log_probs, rows = log_softmax(TABLE, axis=1), {}
    for sequence in itertools.product(range(4), repeat=LENGTH):
        ended = sequence.index(END) + 1 if END in sequence else LENGTH
        steps = zip((first, *sequence), sequence[:ended], strict=False)
        row = tuple(token for token in sequence[:ended] if token != END)
        rows[row] = sum(float(log_probs[a, b]) for a, b in steps)
    return rows


def test_beam_search_of_enough_beams_finds_the_likeliest_sequence():
    """After prompts of different lengths, in one batch."""
    prompts = [[0, 1, -1], [2, -1, -1], [1, 2, 0]]
    result = found(prompts, 64)
    for prompt, tokens, log_prob in zip(prompts, np.asarray(result.tokens), result.log_prob, strict=True):
        given = [token for token in prompt if token >= 0]
        expected = sequences(given[-1])
        best = max(expected, key=expected.__getitem__)
        assert tokens[tokens >= 0].tolist() == [*given, *best]
        assert float(log_prob) == pytest.approx(expected[best], abs=1e-5)


def test_beam_search_of_one_beam_is_greedy():
    tokens, expected = np.asarray(found([[0]], 1).tokens)[0], [0]
    while len(expected) <= LENGTH:
        token = int(TABLE[expected[-1]].argmax())
        if token == END:
            break
        expected.append(token)
    assert tokens[tokens >= 0].tolist() == expected


def test_beam_search_gives_each_beam_the_state_of_its_own_tokens():
    """A penalty that forbids repetition in effect: no token occurs twice, whichever beam it descends from."""
    result = np.asarray(found([[0], [1]], 8, penalties(4, frequency=1e4)).tokens)
    for row in result:
        tokens = row[row >= 0][1:].tolist()  # the start is no part of the text
        assert len(set(tokens)) == len(tokens)


def test_beam_search_log_prob_is_at_least_that_of_a_narrower_search():
    few, many = found([[0], [1], [2]], 1), found([[0], [1], [2]], 64)
    assert (np.asarray(many.log_prob) >= np.asarray(few.log_prob) - 1e-6).all()
