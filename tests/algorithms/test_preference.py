"""DPO by its closed forms: the loss at the reference, the gradient of equation 7, and the answers' nats alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.autoregressive import PLAYER, TokenModel
from aigc_jax.algorithms.preference import REFERENCE, preference
from aigc_jax.losses.preference import dpo_loss
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.types import UsageError

KEY = jax.random.key(0)
BETA = 0.3
NET = make_decoder(DecoderSettings(width=8, depth=1, head_width=4), vocab_size=5, max_length=4)
# A prompt "4 1", of which the chosen answer is "2 0", and the rejected one "3".
PAIRS = jnp.array([[[[4, 1, 2, -1], [-1, 2, 0, -1]], [[4, 1, -1, -1], [-1, 3, -1, -1]]]] * 2)


def made(tx=None, **options):
    return preference(TokenModel(NET, 4, start=4), tx=tx or optax.sgd(1.0), beta=BETA, **options)


def log_prob(params, tokens):
    """The log-probability of the answer after two tokens, in nats."""
    log_probs = jax.nn.log_softmax(NET.apply({"params": params}, jnp.array([tokens]))[0][0])
    return sum(log_probs[t, token] for t, token in enumerate(tokens[1:]) if t >= 1)


def test_dpo_loss_at_the_reference_is_log_2():
    algorithm = made()
    state = jax.jit(algorithm.init)(KEY, {"example": PAIRS})
    state, metrics = jax.jit(algorithm.step)(state, {"example": PAIRS}, KEY)
    np.testing.assert_allclose(metrics["decoder/loss"], np.log(2), rtol=1e-6)
    assert float(metrics["decoder/reward_margin"]) == 0


def test_dpo_gradient_is_that_of_equation_7():
    """On tables of log-probabilities: -beta sigmoid(rejected reward - chosen reward) (grad chosen - grad rejected)."""
    tables = np.random.default_rng(0).normal(size=(2, 6))
    policy, reference = jnp.asarray(tables[0], jnp.float32), jax.nn.log_softmax(jnp.asarray(tables[1], jnp.float32))
    w, l = 2, 5  # noqa: E741  the paper's letters

    def loss(logits):
        table = jax.nn.log_softmax(logits)
        return dpo_loss(table[w][None], table[l][None], reference[w][None], reference[l][None], beta=BETA)[0]

    logits = tables[0]
    probs = np.exp(logits) / np.exp(logits).sum()
    reward = BETA * (np.log(probs) - np.asarray(reference, np.float64))
    one = np.eye(6)
    expected = -BETA / (1 + np.exp(reward[w] - reward[l])) * ((one[w] - probs) - (one[l] - probs))
    np.testing.assert_allclose(jax.grad(loss)(policy), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_log_probabilities_are_those_of_answers_alone_and_the_reference_stays(rng):
    algorithm = made()
    state = jax.jit(algorithm.init)(KEY, {"example": PAIRS})
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), state.params)
    new, metrics = jax.jit(algorithm.step)(state.replace(params=params), {"example": PAIRS}, KEY)
    chosen, rejected = (log_prob(params[PLAYER], tokens) for tokens in ([4, 1, 2, 0], [4, 1, 3]))
    before = [log_prob(params[REFERENCE], tokens) for tokens in ([4, 1, 2, 0], [4, 1, 3])]
    np.testing.assert_allclose(metrics["decoder/chosen_nats"], -chosen, rtol=1e-5)
    np.testing.assert_allclose(metrics["decoder/rejected_nats"], -rejected, rtol=1e-5)
    margin = BETA * (chosen - before[0] - rejected + before[1])
    np.testing.assert_allclose(metrics["decoder/reward_margin"], margin, rtol=1e-4)
    np.testing.assert_allclose(metrics["decoder/loss"], np.log1p(np.exp(-float(margin))), rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, new.params[REFERENCE], params[REFERENCE])
    assert list(new.opt_state) == [PLAYER]


@pytest.mark.slow
def test_pairs_of_padding_alone_leave_no_nan():
    algorithm = made()
    pairs = jnp.full_like(PAIRS, -1)
    state = jax.jit(algorithm.init)(KEY, {"example": pairs})
    new, metrics = jax.jit(algorithm.step)(state, {"example": pairs}, KEY)
    np.testing.assert_allclose(metrics["decoder/loss"], np.log(2), rtol=1e-6)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(new.params))


@pytest.mark.parametrize("shape", [(2, 2, 2, 3), (2, 5), (2, 3, 2, 4)])
def test_preference_refuses_batches_of_another_shape(shape):
    with pytest.raises(UsageError, match=r"expected pairs \[B, 2, 2, 4\]"):
        jax.eval_shape(made().init, KEY, {"example": jnp.zeros(shape, jnp.int32)})


def test_preference_refuses_a_beta_that_prefers_nothing():
    with pytest.raises(UsageError, match="beta > 0"):
        preference(TokenModel(NET, 4, start=4), tx=optax.sgd(1.0), beta=0.0)
