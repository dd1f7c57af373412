"""An autoregressive model is a distribution: its likelihoods sum to one, and its samples follow them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from scipy.special import log_softmax

from aigc_jax.algorithms.autoregressive import PLAYER, TokenModel, autoregressive
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.types import NUM_BYTES, NUM_TOKENS, UsageError

KEY = jax.random.key(0)
NET = make_decoder(DecoderSettings(width=8, depth=1, head_width=4, dropout=0.0), vocab_size=4, max_length=4)
MODEL = TokenModel(NET, 3, start=3, end=3, num_bytes=np.array([1, 2, 3, 0]))


def made(sampling=None, *, model=MODEL, **options):
    return autoregressive(
        model, tx=optax.sgd(0.1), sampling=Decoding(length=3) if sampling is None else sampling, **options
    )


@functools.cache
def variables():
    """Weights as after some training, and all sequences with their likelihoods."""
    state = jax.eval_shape(made().init, KEY, {"example": jnp.zeros((2, 4), jnp.int32)})
    numbers = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: numbers.normal(size=leaf.shape).astype(leaf.dtype), state.variables)


def all_rows():
    """Each sequence of three tokens, or fewer and the end, padded."""
    rows = []
    for tokens in itertools.product(range(4), repeat=3):
        num = tokens.index(3) + 1 if 3 in tokens else 3
        rows.append((3, *tokens[:num], *[-1] * (3 - num)))
    return np.unique(np.array(rows, np.int32), axis=0)


@functools.cache
def sequences():
    """All sequences with their likelihoods."""
    rows = all_rows()
    found = jax.jit(made().evaluate)(variables(), {"example": jnp.asarray(rows)}, KEY)
    return rows, {name: np.asarray(value) for name, value in found.items()}


def test_likelihoods_of_all_sequences_sum_to_one():
    rows, found = sequences()
    assert np.exp(-found["nll"].astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(found[NUM_TOKENS], (rows[:, 1:] >= 0).sum(axis=1))
    sizes = np.array([1, 2, 3, 0])
    np.testing.assert_array_equal(found[NUM_BYTES], np.where(rows[:, 1:] >= 0, sizes[rows[:, 1:]], 0).sum(axis=1))


def test_samples_follow_the_likelihoods():
    rows, found = sequences()
    samples = jax.jit(lambda variables: made().sample(variables, KEY, 20_000, None))(variables())
    assert chi_square(samples, rows, found["nll"]) > 1e-3


def chi_square(samples, rows, nll):
    """The p-value of samples that are drawn by the likelihoods of all sequences."""
    drawn, counts = np.unique(np.asarray(samples), axis=0, return_counts=True)
    observed = dict(zip(map(tuple, drawn.tolist()), counts, strict=True))
    # A sample holds no end.
    names = [(3, *np.where(row[1:] == 3, -1, row[1:]).tolist()) for row in rows]
    probs = np.exp(-nll.astype(np.float64))
    return stats.chisquare([observed.get(name, 0) for name in names], len(samples) * probs / probs.sum()).pvalue


CLASSED = MODEL._replace(net=NET.clone(num_classes=2))


@functools.cache
def classed_variables():
    batch = {"example": jnp.zeros((2, 4), jnp.int32), "condition": jnp.zeros(2, jnp.int32)}
    state = jax.eval_shape(made(model=CLASSED).init, KEY, batch)
    numbers = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: numbers.normal(size=leaf.shape).astype(leaf.dtype), state.variables)


def classed_nll(condition):
    """All sequences, and the exact likelihoods of one class, 2 for none: probabilities sum to one."""
    rows = all_rows()
    batch = {"example": jnp.asarray(rows), "condition": jnp.full(len(rows), condition)}
    nll = np.asarray(jax.jit(made(model=CLASSED).evaluate)(classed_variables(), batch, KEY)["nll"])
    assert np.exp(-nll.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    return rows, nll


@pytest.mark.slow
def test_samples_of_classes_follow_the_likelihoods_of_each():
    draw = jax.jit(lambda variables, labels: made(model=CLASSED).sample(variables, KEY, 10_000, labels))
    samples = np.asarray(draw(classed_variables(), jnp.arange(10_000) % 2))
    (rows, first), (_, second) = classed_nll(0), classed_nll(1)
    assert np.abs(first - second).max() > 0.5
    assert chi_square(samples[::2], rows, first) > 1e-3
    assert chi_square(samples[1::2], rows, second) > 1e-3
    assert chi_square(samples[::2], rows, second) < 1e-6


@pytest.mark.slow
def test_samples_without_a_class_follow_the_likelihood_of_none():
    """As do those of a prompt, which has no class."""
    rows, nll = classed_nll(2)
    draw = made(model=CLASSED).sample
    samples = jax.jit(lambda variables: draw(variables, KEY, 10_000, jnp.int32(2)))(classed_variables())
    assert chi_square(samples, rows, nll) > 1e-3
    start = jnp.full((10_000, 1), 3)
    prompted = jax.jit(lambda variables, start: draw(variables, KEY, 10_000, start))(classed_variables(), start)
    np.testing.assert_array_equal(prompted, samples)


def test_guidance_of_classes_mixes_their_logits_with_those_of_none():
    """u + 3 (c - u), token by token, as probabilities of whole sequences."""
    logits = jax.jit(made(model=CLASSED).logits)
    rows = all_rows()
    each = [np.asarray(logits(classed_variables(), rows, jnp.full(len(rows), label))) for label in (0, 2)]
    log_probs = log_softmax(each[1] + 3.0 * (each[0] - each[1]), axis=-1)
    targets = rows[:, 1:]
    nll = -np.where(targets >= 0, np.take_along_axis(log_probs, np.maximum(targets, 0)[..., None], -1)[..., 0], 0)
    draw = made(Decoding(length=3, guidance=3.0), model=CLASSED).sample
    samples = jax.jit(lambda variables: draw(variables, KEY, 10_000, jnp.int32(0)))(classed_variables())
    assert chi_square(samples, rows, nll.sum(axis=1)) > 1e-3


def test_classes_out_of_range_are_refused():
    with pytest.raises(UsageError, match="classes are 0"):
        made(model=CLASSED).sample(classed_variables(), KEY, 2, jnp.array([0, 3]))


def test_likeliest_sample_is_the_argmax_of_the_whole_sequence():
    """With a cache, after prompts of different lengths."""
    model = MODEL._replace(end=-1)
    algorithm = made(Decoding(length=3, temperature=0.0), model=model)
    prompts = jnp.array([[3, 1, -1, -1], [3, 0, 2, -1]])
    samples = np.asarray(jax.jit(lambda: algorithm.sample(variables(), KEY, 2, prompts))())
    apply = jax.jit(lambda tokens: NET.apply({"params": variables()["params"][PLAYER]}, tokens)[0])
    for prompt, sample in zip(np.asarray(prompts), samples, strict=True):
        text = [token for token in prompt.tolist() if token >= 0]
        for _ in range(3):
            logits = apply(jnp.array([text + [0] * (6 - len(text))]))
            text.append(int(jnp.argmax(logits[0, len(text) - 1])))
        assert sample[sample >= 0].tolist() == text


def drawn(prompts, keys, *, size, length=3):
    """Samples of prompts that are padded to a size, each with its key."""
    algorithm = made(Decoding(length=length, top_p=0.95), model=MODEL._replace(end=-1))
    table = np.full((len(prompts), size), -1, np.int32)
    for row, prompt in zip(table, prompts, strict=True):
        row[: len(prompt)] = prompt
    sample = jax.jit(lambda variables, keys, table: algorithm.sample(variables, keys, len(table), table))
    found = np.asarray(sample(variables(), keys, jnp.asarray(table)))
    return [row[row >= 0].tolist() for row in found]


@pytest.mark.slow
def test_sample_depends_on_its_own_prompt_and_key_alone():
    """Not on its neighbours, its place, the size of the batch, the padding of prompts, or the length of others."""
    prompts, keys = [[3], [3, 0, 1], [3, 2], [3, 1, 1, 0]], jax.random.split(KEY, 4)
    samples = drawn(prompts, keys, size=4)
    assert drawn(prompts[::-1], keys[::-1], size=4) == samples[::-1]
    assert drawn([prompts[1], [3, 3], [3, 3, 3], [3]], keys[jnp.array([1, 0, 0, 0])], size=4)[0] == samples[1]
    assert drawn(prompts[2:3], keys[2:3], size=4) == samples[2:3]
    assert drawn(prompts, keys, size=16) == samples
    longer = drawn(prompts, keys, size=4, length=5)
    assert [row[:-2] for row in longer] == samples
    assert len({tuple(row) for row in samples}) == 4


@pytest.mark.slow
def test_micro_batches_of_unequal_lengths_make_the_same_step():
    rows = np.array([[3, 0, 1, 2], [3, 1, -1, -1], [3, 2, 2, -1], [3, 3, -1, -1]], np.int32)
    states = []
    for num in (1, 2, 4):
        algorithm = made(num_microbatches=num)
        state = jax.jit(algorithm.init)(KEY, {"example": jnp.asarray(rows)})
        states.append(jax.jit(algorithm.step)(state, {"example": jnp.asarray(rows)}, KEY))
    for state, metrics in states[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, states[0][0].params)
        np.testing.assert_allclose(metrics["decoder/loss"], states[0][1]["decoder/loss"], rtol=1e-6)


@pytest.mark.standard_promotion  # of Adam's counter
@pytest.mark.slow
def test_autoregressive_learns_a_sequence_by_heart():
    algorithm = autoregressive(MODEL, tx=optax.adam(0.03), sampling=Decoding(length=3))
    batch = {"example": jnp.array([[3, 2, 0, 1], [3, 2, 0, 1]])}
    state, step = jax.jit(algorithm.init)(KEY, batch), jax.jit(algorithm.step)
    for number in range(60):
        state, metrics = step(state, batch, jax.random.fold_in(KEY, number))
    assert metrics["decoder/loss"] < 0.05
    assert np.asarray(algorithm.sample(state.variables, KEY, 1, None)).tolist() == [[3, 2, 0, 1]]


@pytest.mark.slow
@pytest.mark.standard_promotion  # of Adam's counter
def test_model_of_classes_learns_a_sequence_of_each_by_heart():
    algorithm = autoregressive(CLASSED, tx=optax.adam(0.03), sampling=Decoding(length=3))
    batch = {"example": jnp.array([[3, 2, 0, 1], [3, 0, 1, 2]] * 8), "condition": jnp.array([0, 1] * 8)}
    state, step = jax.jit(algorithm.init)(KEY, batch), jax.jit(algorithm.step)
    for number in range(100):
        state, _ = step(state, batch, jax.random.fold_in(KEY, number))
    samples = algorithm.sample(state.variables, KEY, 2, jnp.array([1, 0]))
    assert np.asarray(samples).tolist() == [[3, 0, 1, 2], [3, 2, 0, 1]]


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (2, 1), (4,)])
def test_autoregressive_refuses_sequences_of_another_length(shape):
    with pytest.raises(UsageError, match=r"takes tokens \[B, 4\]|expected tokens"):
        jax.eval_shape(made().init, KEY, {"example": jnp.zeros(shape, jnp.int32)})
