"""Detectors of a text's last word, on a model of pairs of tokens whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy

from aigc_jax.guards.last_word import LastWord, disagreement, last_word_nll, redrawn_words, semantic_entropy
from aigc_jax.rng import example_keys
from aigc_jax.types import SequenceModel

#             0     1     2      3     4     5 ends
VOCABULARY = [b"a", b"b", b" x", b"y", b"z", b""]
SETTINGS = LastWord(np.array([word.startswith(b" ") for word in VOCABULARY]), end=5, num_draws=64, num_tokens=4)
# After x comes y or z, of 3 : 1, and then the end; after a, " x".
LOGITS = np.full((6, 6), -np.inf)
LOGITS[0, 2] = LOGITS[1, 2] = LOGITS[3, 5] = LOGITS[4, 5] = LOGITS[5, 0] = 0.0
LOGITS[2, 3], LOGITS[2, 4] = np.log(0.75), np.log(0.25)


def pair_model():
    """A model that draws each token by the one before it."""
    logits = jnp.asarray(LOGITS, jnp.float32)

    def prefill(prompt, size):
        del size
        last = jnp.take_along_axis(prompt, jnp.sum(prompt >= 0, axis=1)[:, None] - 1, axis=1)[:, 0]
        return logits[last], jnp.zeros((len(prompt), 1))

    return SequenceModel(prefill, lambda cache, token: (logits[token], cache))


def texts(*rows):
    width = max(map(len, rows))
    return jnp.asarray([[*row, *[-1] * (width - len(row))] for row in rows], jnp.int32)


def test_place_is_that_of_the_last_word():
    tokens = texts([5, 0, 2, 3, 5], [5, 0, 2, 3, 2, 4], [5, 0, 1], [5])
    assert SETTINGS.place(tokens).tolist() == [2, 4, 1, 1]


@pytest.mark.slow
def test_redrawn_words_are_those_of_the_model_after_the_same_beginning():
    tokens = texts([5, 0, 2, 3, 5], [5, 0, 2, 3, 2, 4])
    drawn, own = redrawn_words(pair_model(), tokens, example_keys(jax.random.key(0), 2), SETTINGS)
    assert own.tolist() == [[2, 3, -1, -1], [2, 4, -1, -1]]
    assert drawn.shape == (2, 64, 4)
    # The first text goes on after a: " x" and then y or z; the second after y, where the model ends at once.
    assert {tuple(word) for word in drawn[0].tolist()} == {(2, 3, -1, -1), (2, 4, -1, -1)}
    assert {tuple(word) for word in drawn[1].tolist()} == {(-1, -1, -1, -1)}
    share = float(jnp.mean(drawn[0, :, 1] == 3))
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 64)


@pytest.mark.slow
def test_redrawn_words_depend_on_their_own_text_and_key_alone():
    keys = example_keys(jax.random.key(1), 2)
    tokens = texts([5, 0, 2, 3, 5], [5, 0, 2, 4, 5])
    both, _ = redrawn_words(pair_model(), tokens, keys, SETTINGS)
    alone, _ = redrawn_words(pair_model(), tokens[1:], keys[1:], SETTINGS)
    np.testing.assert_array_equal(both[1], alone[0])


def test_last_word_nll_is_that_of_the_word_and_of_the_end():
    tokens = texts([5, 0, 2, 3, 5], [5, 0, 1, -1, -1])
    nll = jnp.asarray([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 0.0, 0.0]])
    assert last_word_nll(nll, tokens, SETTINGS).tolist() == [14.0, 3.0]


@pytest.mark.standard_promotion
def test_semantic_entropy_and_disagreement_are_those_of_the_counts():
    drawn = np.array([[[1, 2], [1, 2], [1, -1], [1, 2]], [[3, -1]] * 4])
    own = np.array([[1, 2], [1, -1]])
    np.testing.assert_allclose(semantic_entropy(drawn), [entropy([3, 1]), 0.0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(disagreement(drawn, own), [0.25, 1.0])
