"""The decoder compared with its parts written in numpy, and with itself with and without a cache."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from scipy.special import softmax

from aigc_jax.nets.decoder import Decoder, is_matrix, muon_matrices
from aigc_jax.types import UsageError

KEY = jax.random.key(0)
TOKENS = jax.random.randint(KEY, (3, 9), 0, 7)
SIZE = {"vocab_size": 7, "max_length": 16, "width": 16, "depth": 2, "head_width": 4}
FORMS = {
    "llama": {},
    "shared heads": {"num_kv_heads": 2},
    "gpt2": {"mlp": "gelu", "norm": "layer", "has_qk_norm": False, "positions": "learned"},
    "relu2": {"mlp": "relu2", "is_tied": False, "unroll": 0},
}


def made(**fields):
    """A decoder with parameters as after some training: no layer is zero any more."""
    net, numbers = Decoder(**{**SIZE, **fields}), np.random.default_rng(0)
    shapes = jax.eval_shape(net.init, KEY, TOKENS)
    return net, jax.tree.map(lambda leaf: jnp.asarray(0.4 * numbers.normal(size=leaf.shape), leaf.dtype), shapes)


@pytest.mark.checked
@pytest.mark.parametrize("form", FORMS)
def test_decoder_with_a_cache_gives_the_same_logits(form):
    """Whatever padding a prompt has, and whatever is in the other rows."""
    net, variables = made(**FORMS[form])
    full = jax.jit(net.apply)(variables, TOKENS)[0]
    apply = jax.jit(lambda tokens, cache: net.apply(variables, tokens, cache=cache))
    sizes = jnp.array([2, 5, 3])
    prompt = jnp.where(jnp.arange(5)[None] < sizes[:, None], TOKENS[:, :5], -1)
    logits, cache = apply(prompt, net.init_cache(3, 12))
    for row, size in enumerate(sizes):
        np.testing.assert_allclose(logits[row, :size], full[row, :size], atol=1e-5)
    cache = cache._replace(length=sizes)
    for step in range(4):
        logits, cache = apply(TOKENS[jnp.arange(3), sizes + step][:, None], cache)
        np.testing.assert_allclose(logits[:, 0], full[jnp.arange(3), sizes + step], atol=1e-5)


def test_decoder_logits_depend_on_no_later_token():
    net, variables = made()
    changed = TOKENS.at[:, 5:].set((TOKENS[:, 5:] + 1) % 7)
    both = [jax.jit(net.apply)(variables, tokens)[0] for tokens in (TOKENS, changed)]
    np.testing.assert_array_equal(both[0][:, :5], both[1][:, :5])
    assert not np.allclose(both[0][:, 5], both[1][:, 5])


def test_decoder_sees_the_last_tokens_of_its_length_with_and_without_a_cache():
    net, variables = made(max_length=4, depth=1)
    full = jax.jit(net.apply)(variables, TOKENS)[0]
    np.testing.assert_allclose(full[:, 8], jax.jit(net.apply)(variables, TOKENS[:, 5:9])[0][:, -1], atol=1e-5)
    logits, _ = jax.jit(lambda tokens, cache: net.apply(variables, tokens, cache=cache))(TOKENS, net.init_cache(3, 9))
    np.testing.assert_allclose(logits, full, atol=1e-5)


def test_decoder_is_llama_written_in_numpy():
    """Root-mean-square norms, rotated heads, causal softmax and SwiGLU, block by block."""
    net, variables = made(has_qk_norm=False)
    params = jax.tree.map(np.asarray, variables["params"])

    def rms(x, scale):
        return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * scale

    def turned(x):
        angle = np.arange(9)[:, None] * 10_000.0 ** (-np.arange(2) / 2)
        z = (x[..., :2] + 1j * x[..., 2:]) * np.exp(1j * angle)[:, None]
        return np.concatenate([z.real, z.imag], axis=-1)

    x = params["embed"]["embedding"][TOKENS[0]].astype(np.float64)
    for i in range(2):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"])
        h = rms(x, own["attention_norm"]["scale"])
        query, key, value = ((h @ own[name]["kernel"]).reshape(9, 4, 4) for name in ("query", "key", "value"))
        scores = np.einsum("qhc,khc->hqk", turned(query), turned(key)) / 2
        scores = np.where(np.tri(9, dtype=bool), scores, -np.inf)
        h = np.einsum("hqk,khc->qhc", softmax(scores, axis=-1), value).reshape(9, 16)
        x = x + h @ own["out"]["kernel"]
        h = rms(x, own["mlp_norm"]["scale"])
        gate = h @ own["gate"]["kernel"]
        x = x + (gate / (1 + np.exp(-gate)) * (h @ own["hidden"]["kernel"])) @ own["mlp_out"]["kernel"]
    expected = rms(x, params["norm"]["scale"]) @ params["embed"]["embedding"].T
    np.testing.assert_allclose(jax.jit(net.apply)(variables, TOKENS)[0][0], expected, atol=2e-4, rtol=1e-4)


def test_is_matrix_leaves_scales_of_norms_without_decay():
    _, variables = made()
    mask = is_matrix(variables["params"])
    assert mask["embed"]["embedding"]
    assert mask["blocks"]["query"]["kernel"]
    assert not mask["blocks"]["query_norm"]["scale"]
    assert not mask["norm"]["scale"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"head_width": 5}, "even head_width that divides its width 16, got 5"),
        ({"head_width": 0}, "even head_width that divides its width 16, got 0"),
        ({"num_kv_heads": 3}, "divide the number of heads, 4, got 3"),
        ({"positions": "learned", "max_length": 4}, "reach 4 tokens, got 9"),
    ],
)
def test_decoder_refuses_sizes_that_do_not_fit(fields, words):
    with pytest.raises(UsageError, match=words):
        jax.eval_shape(Decoder(**{**SIZE, **fields}).init, KEY, TOKENS)


@pytest.mark.checked
@pytest.mark.standard_promotion  # of optax
def test_muon_orthogonalises_the_matrix_of_each_block_and_leaves_the_rest_to_adam(rng):
    _, variables = made()
    params = variables["params"]
    grads = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params)
    tx = optax.contrib.muon(1.0, muon_weight_dimension_numbers=muon_matrices)
    updates, _ = tx.update(grads, tx.init(params), params)
    for given, found in zip(*(tree["blocks"]["query"]["kernel"] for tree in (grads, updates)), strict=True):
        before, after = (np.linalg.svd(np.asarray(each), compute_uv=False) for each in (given, found))
        # Five steps of Newton-Schulz leave singular values between 0.68 and 1.13 (Jordan 2024).
        assert before.max() / before.min() > 5
        assert after.max() < 1.25
        assert np.median(after) > 0.65
    # Adam's first step has one size for all, whatever the gradient.
    for update in (updates["embed"]["embedding"], updates["blocks"]["query_norm"]["scale"]):
        np.testing.assert_allclose(np.abs(update), np.abs(update).mean(), rtol=1e-3)
