"""Adapters change a frozen network: nothing at first, then as their formula says, in training and decoding alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aigc_jax.algorithms.autoregressive import PLAYER, TokenModel, autoregressive
from aigc_jax.algorithms.classifier import classifier
from aigc_jax.algorithms.finetuning import ADAPTER, BASE
from aigc_jax.nets.adapters import LoraSettings, lora, soft_prompt, with_head
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.nets.sequence import HEAD, DecoderClassifier
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.types import UsageError

KEY = jax.random.key(0)
NET = make_decoder(DecoderSettings(width=8, depth=2, head_width=4), vocab_size=5, max_length=4)
LORA = LoraSettings(rank=2, alpha=6.0, pattern="(query|hidden)/kernel$")
NUM_PROMPT = 3
BATCH = {"example": jnp.array([[4, 0, 1, 2, 3], [4, 3, -1, -1, -1]])}
OPTIONS = {"tx": optax.sgd(0.5), "sampling": Decoding(length=4, temperature=0.0)}


def model(num_prompt_tokens=0):
    return TokenModel(NET.clone(num_prompt_tokens=num_prompt_tokens), 4, start=4, end=-1)


PLAIN = autoregressive(model(), **OPTIONS)
ADAPTED = {
    "lora": autoregressive(model(), adapter=lora(LORA), ema_decay=0.5, **OPTIONS),
    "prompt": autoregressive(model(NUM_PROMPT), adapter=soft_prompt(NUM_PROMPT), **OPTIONS),
}


def random_like(tree, seed=0):
    """Weights as after some training."""
    numbers = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(numbers.normal(size=leaf.shape), leaf.dtype), tree)


@functools.cache
def trained(kind):
    """The variables of an adapted network, all of whose weights are random."""
    return random_like(jax.eval_shape(ADAPTED[kind].init, KEY, BATCH).variables)


def nll(algorithm, variables, tokens=BATCH["example"]):
    return np.asarray(jax.jit(algorithm.evaluate)(variables, {"example": tokens}, KEY)["nll"])


def test_lora_changes_nothing_at_first_bit_for_bit():
    state = jax.jit(ADAPTED["lora"].init)(KEY, BATCH)
    base = random_like(state.params[BASE])
    adapted = {"params": {BASE: base, ADAPTER: state.params[ADAPTER]}}
    plain = {"params": {PLAYER: base}}
    assert nll(ADAPTED["lora"], adapted).tobytes() == nll(PLAIN, plain).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADAPTED)
def test_step_trains_the_adapter_alone(kind):
    algorithm = ADAPTED[kind]
    state = jax.jit(algorithm.init)(KEY, BATCH)
    # Zeros at the start of the network would leave no gradient.
    state = state.replace(params={**state.params, BASE: random_like(state.params[BASE])})
    new, metrics = jax.jit(algorithm.step)(state, BATCH, KEY)
    jax.tree.map(np.testing.assert_array_equal, new.params[BASE], state.params[BASE])
    changed = [bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (new.params, state.params)), strict=True)]
    assert any(changed)
    assert list(new.opt_state) == [ADAPTER]
    assert metrics["adapter/grad_norm"] > 0
    assert list(new.ema_params) == ([ADAPTER] if kind == "lora" else [])


def test_lora_adds_the_product_of_its_factors_to_each_matrix_of_a_scan():
    params = trained("lora")["params"]
    merged = ADAPTED["lora"].merged(trained("lora"))["params"][PLAYER]
    for name in ("query", "hidden"):
        kernel, factors = (
            np.asarray(params[BASE]["blocks"][name]["kernel"], np.float64),
            params[ADAPTER]["blocks"][name],
        )
        a, b = (np.asarray(factors["kernel"][letter], np.float64) for letter in "AB")
        expected = np.stack([kernel[i] + 6.0 / 2 * a[i] @ b[i] for i in range(2)])
        np.testing.assert_allclose(merged["blocks"][name]["kernel"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(merged["blocks"]["key"]["kernel"], params[BASE]["blocks"]["key"]["kernel"])


def test_merged_weights_are_those_of_the_network_without_an_adapter():
    adapted = nll(ADAPTED["lora"], trained("lora"))
    np.testing.assert_allclose(nll(PLAIN, ADAPTED["lora"].merged(trained("lora"))), adapted, rtol=1e-5)
    assert ADAPTED["prompt"].merged is None


@pytest.mark.slow
def test_soft_prompt_of_the_embeddings_of_tokens_is_these_tokens():
    variables = trained("prompt")
    base = variables["params"][BASE]
    prefix, tokens = jnp.array([2, 0, 3]), jnp.array([[4, 0, 1, 2], [4, 3, 3, 1]])
    prompt = {"prompt": base["embed"]["embedding"][prefix]}
    found = model(NUM_PROMPT).net.apply({"params": {**base, **prompt}}, tokens)[0]
    both = jnp.concatenate([jnp.broadcast_to(prefix, (2, 3)), tokens], axis=1)
    long = NET.clone(max_length=8)
    np.testing.assert_allclose(found, long.apply({"params": base}, both)[0][:, 3:], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADAPTED)
def test_cached_decoding_is_the_argmax_of_the_whole_sequence_with_an_adapter(kind):
    """After prompts of different lengths, and beyond the training length."""
    algorithm, variables = ADAPTED[kind], trained(kind)
    prompts = jnp.array([[4, 1, -1, -1], [4, 0, 2, -1]])
    samples = np.asarray(jax.jit(lambda: algorithm.sample(variables, KEY, 2, prompts))())
    base, new = variables["params"][BASE], variables["params"][ADAPTER]
    weights = lora(LORA).merge(base, new) if kind == "lora" else {**base, **new}
    net = model(NUM_PROMPT if kind == "prompt" else 0).net
    apply = jax.jit(lambda tokens: net.apply({"params": weights}, tokens)[0])
    for prompt, sample in zip(np.asarray(prompts), samples, strict=True):
        text = [token for token in prompt.tolist() if token >= 0]
        for _ in range(4):
            logits = apply(jnp.array([text + [0] * (8 - len(text))]))
            text.append(int(jnp.argmax(logits[0, len(text) - 1])))
        assert sample[sample >= 0].tolist() == text


@pytest.mark.slow
def test_classifier_with_lora_trains_its_head_and_factors_and_begins_as_the_whole_network():
    net, batch = DecoderClassifier(NET, 3), {**BATCH, "condition": jnp.array([0, 2])}
    adapted = classifier(net, optax.sgd(0.5), adapter=with_head(lora(LORA), HEAD))
    plain = classifier(net, optax.sgd(0.5))
    state = jax.jit(adapted.init)(KEY, batch)
    state = state.replace(params={**state.params, BASE: random_like(state.params[BASE])})
    merged = adapted.merged(state.variables)
    assert set(merged["params"]["classifier"]) == {"decoder", "out"}
    found, expected = (
        jax.jit(each.evaluate)(variables, batch, KEY)["logits"]
        for each, variables in ((adapted, state.variables), (plain, merged))
    )
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()
    # A step at B = 0 moves the head as a step of the whole network does.
    whole = jax.jit(plain.init)(KEY, batch).replace(params=merged["params"])
    (after, _), (other, _) = (jax.jit(each.step)(s, batch, KEY) for each, s in ((adapted, state), (plain, whole)))
    jax.tree.map(np.testing.assert_array_equal, after.params[BASE], state.params[BASE])
    assert jnp.any(after.params[ADAPTER]["decoder"]["blocks"]["query"]["kernel"]["B"] != 0)
    head = after.params[ADAPTER][HEAD]
    assert jnp.any(head["kernel"] != state.params[ADAPTER][HEAD]["kernel"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), head, other.params["classifier"][HEAD]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lora(LoraSettings(pattern="(")), "mend --lora.pattern"),
        (lambda: lora(LoraSettings(rank=0)), "rank >= 1"),
        (lambda: soft_prompt(0), "at least one token"),
        (lambda: lora(LoraSettings(pattern="nothing")).split(KEY, {"a": {"kernel": jnp.ones((2, 2))}}), "a/kernel"),
    ],
)
def test_adapter_refuses_settings_that_change_nothing(make, message):
    with pytest.raises(UsageError, match=message):
        make()
