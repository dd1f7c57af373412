"""Losses of tokens compared with optax and scikit-learn; weights that make batches of unequal lengths exact."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import f1_score

from aigc_jax.losses.tokens import bag_of_words_loss, next_token_loss, soft_f1_loss, token_nll
from aigc_jax.types import UsageError

LOGITS = jax.random.normal(jax.random.key(0), (3, 5, 7)) * 3
TARGETS = jnp.array([[0, 1, 2, 3, 6], [5, 5, -1, -1, -1], [4, -1, -1, -1, -1]])
IS_TARGET = np.asarray(TARGETS) >= 0


def test_token_nll_is_that_of_optax_and_zero_on_padding():
    expected = optax.softmax_cross_entropy_with_integer_labels(LOGITS, jnp.maximum(TARGETS, 0))
    np.testing.assert_allclose(token_nll(LOGITS, TARGETS), np.where(IS_TARGET, expected, 0), rtol=1e-5)


@pytest.mark.slow
def test_next_token_loss_weighs_all_tokens_of_a_batch_alike():
    found = next_token_loss(LOGITS, TARGETS)
    mean = (found.loss * found.weight).sum() / found.weight.sum()
    np.testing.assert_allclose(mean, np.asarray(token_nll(LOGITS, TARGETS))[IS_TARGET].mean(), rtol=1e-6)


def test_label_smoothing_is_that_of_optax():
    found = next_token_loss(LOGITS[:1], TARGETS[:1], label_smoothing=0.1)
    labels = optax.smooth_labels(jax.nn.one_hot(TARGETS[:1], 7), 0.1)
    np.testing.assert_allclose(found.loss[0], optax.softmax_cross_entropy(LOGITS[:1], labels).mean(), rtol=1e-5)


def test_z_loss_has_the_gradient_of_the_squared_normaliser():
    def extra(shift):
        losses = [next_token_loss(LOGITS + shift, TARGETS, z_weight=weight) for weight in (0.0, 0.01)]
        return ((losses[1].loss - losses[0].loss) * losses[0].weight).sum()

    # d/ds sum (lse + s)^2 = 2 sum lse, while cross-entropy does not change with a shift of all logits.
    expected = 0.02 * np.asarray(jax.nn.logsumexp(LOGITS, axis=-1))[IS_TARGET].sum()
    np.testing.assert_allclose(jax.grad(extra)(0.0), expected, rtol=1e-4)


def test_bag_of_words_loss_is_the_binary_cross_entropy_of_words_held():
    held = np.array([[token in row for token in range(7)] for row in np.asarray(TARGETS)], np.float32)
    expected = optax.sigmoid_binary_cross_entropy(LOGITS[:, 0], held).mean(axis=-1)
    np.testing.assert_allclose(bag_of_words_loss(LOGITS[:, 0], TARGETS), expected, rtol=1e-5)


def test_soft_f1_loss_of_certain_predictions_is_one_less_f1():
    predicted, labels = np.random.default_rng(0).integers(0, 2, (2, 6, 8))
    found = soft_f1_loss(jnp.asarray(predicted, jnp.float32), jnp.asarray(labels, jnp.float32))
    expected = [1 - f1_score(a, b) for a, b in zip(labels, predicted, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_next_token_loss_refuses_numbers_out_of_range():
    with pytest.raises(UsageError, match="label_smoothing"):
        next_token_loss(LOGITS, TARGETS, label_smoothing=1.0)
