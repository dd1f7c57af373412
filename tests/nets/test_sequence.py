"""Classifiers of tokens: padding changes nothing, order changes something."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.losses.augmentation import drop_tokens
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.nets.sequence import ConvSequenceClassifier, DecoderClassifier, TransformerSequenceClassifier
from aigc_jax.types import UsageError

DECODER = make_decoder(DecoderSettings(width=8, depth=1, head_width=4), vocab_size=11, max_length=13)
NETS = {
    "conv": ConvSequenceClassifier(3, 11, width=8, depth=2, num_features=4),
    "transformer": TransformerSequenceClassifier(3, 11, width=8, depth=1, head_width=4, num_features=4),
    "decoder": DecoderClassifier(DECODER, 3),
}


@pytest.mark.checked
@pytest.mark.parametrize("kind", NETS)
def test_sequence_classifier_does_not_depend_on_padding(kind, rng):
    net = NETS[kind]
    tokens = jnp.asarray(rng.integers(0, 11, (3, 7)), jnp.int32)
    tokens = tokens.at[1, 5:].set(-1)
    variables, apply = jax.jit(net.init)(jax.random.key(0), tokens), jax.jit(net.apply)
    # Zeros of the last layers of blocks would hide what attention sees.
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), variables)
    logits, features = apply(variables, tokens)
    assert (logits.shape, features.shape) == ((3, 3), (3, 8 if kind == "decoder" else 4))
    padded, _ = apply(variables, jnp.pad(tokens, ((0, 0), (0, 6)), constant_values=-1))
    np.testing.assert_allclose(logits, padded, atol=1e-4)
    alone, _ = apply(variables, tokens[1:2, :5])
    np.testing.assert_allclose(logits[1:2], alone, atol=1e-4)
    turned, _ = apply(variables, tokens[:, ::-1])
    assert np.abs(np.asarray(turned - logits)[[0, 2]]).max() > 1e-3
    # No token at all: no NaN.
    assert np.isfinite(np.asarray(apply(variables, jnp.full((1, 4), -1))[0])).all()


@pytest.mark.checked
def test_decoder_classifier_has_the_hidden_states_that_the_language_model_predicts_from(rng):
    tokens = jnp.asarray(rng.integers(0, 11, (2, 6)), jnp.int32)
    params = jax.jit(NETS["decoder"].init)(jax.random.key(0), tokens)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), params)
    trunk = {"params": params["decoder"]}
    language, hidden = (DECODER.apply(trunk, tokens, is_headless=is_headless)[0] for is_headless in (False, True))
    embedding = np.asarray(params["decoder"]["embed"]["embedding"], np.float64)
    np.testing.assert_allclose(np.asarray(hidden, np.float64) @ embedding.T, language, rtol=1e-4, atol=1e-4)
    logits, features = NETS["decoder"].apply({"params": params}, tokens)
    np.testing.assert_allclose(features, np.mean(hidden, axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        logits, features @ params["out"]["kernel"] + params["out"]["bias"][None], rtol=1e-5, atol=1e-5
    )


@pytest.mark.unchecked_types
@pytest.mark.parametrize("kind", NETS)
def test_sequence_classifier_refuses_what_is_no_token(kind):
    with pytest.raises(UsageError, match="expected tokens of dtype int32, got float32"):
        NETS[kind].init(jax.random.key(0), jnp.zeros((1, 4)))


def test_drop_tokens_leaves_out_a_share_by_the_key_of_each_example():
    tokens, keys = jnp.ones((4, 1000), jnp.int32), jax.random.split(jax.random.key(0), 4)
    dropped = np.asarray(drop_tokens(tokens, keys, rate=0.25))
    share = (dropped == -1).mean()
    assert share == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000))
    np.testing.assert_array_equal(drop_tokens(tokens[2:], keys[2:], rate=0.25), dropped[2:])
