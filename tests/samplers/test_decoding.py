"""Decoding of a Markov chain, whose exact distribution is known, and each processor compared with its definition."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax

from aigc_jax.data.tokenizer import PAD
from aigc_jax.rng import example_keys
from aigc_jax.samplers.decoding import (
    Decoding,
    chain,
    contrasted,
    decode,
    guided,
    min_length,
    min_p,
    no_repeat_ngram,
    penalties,
    temperature,
    top_k,
    top_p,
    typical,
)
from aigc_jax.types import SequenceModel, UsageError

NUMBERS = np.random.default_rng(0)
TABLE = jnp.asarray(NUMBERS.normal(size=(4, 4)), jnp.float32)
END = 3
LOGITS = jnp.asarray(NUMBERS.normal(size=(50, 12)) * 3, jnp.float32)


def markov(table=TABLE):
    """A chain whose cache is the last token."""

    def prefill(prompt, size):
        last = jnp.take_along_axis(prompt, jnp.sum(prompt >= 0, axis=1)[:, None] - 1, axis=1)[:, 0]
        return table[last], last

    return SequenceModel(prefill, lambda cache, token: (table[token], token))


def drawn(num, *, prompt=(0,), length=3, end=END, seed=0, settings=None):
    settings = Decoding(length=length) if settings is None else settings

    @jax.jit
    def draw(prompts, keys):
        return decode(markov(), prompts, keys, length=length, end=end, processor=settings.processor(4, end))

    return draw(jnp.tile(jnp.asarray(prompt, jnp.int32), (num, 1)), example_keys(jax.random.key(seed), num))


def test_decode_draws_from_the_chain():
    """All sequences of three tokens or fewer, as often as the product of their transitions says."""
    found = drawn(20_000)
    log_probs, expected = np.asarray(jax.nn.log_softmax(TABLE)), {}
    for sequence in itertools.product(range(4), repeat=3):
        ended = sequence.index(END) if END in sequence else 3
        row = (0, *sequence[:ended], *(-1,) * (3 - ended))
        steps = list(zip((0, *sequence), sequence[: ended + 1], strict=False))
        expected[row] = float(np.exp(sum(log_probs[a, b] for a, b in steps)))
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    rows, counts = np.unique(np.asarray(found.tokens), axis=0, return_counts=True)
    observed = dict(zip(map(tuple, rows.tolist()), counts, strict=True))
    test = stats.chisquare(
        [observed.get(row, 0) for row in expected], [20_000 * p / sum(expected.values()) for p in expected.values()]
    )
    assert test.pvalue > 1e-3
    for tokens, log_prob in list(zip(np.asarray(found.tokens).tolist(), found.log_prob, strict=True))[:50]:
        assert np.log(expected[tuple(tokens)]) == pytest.approx(float(log_prob), abs=1e-4)


@pytest.mark.checked
def test_decode_sample_depends_on_its_own_key_and_prompt_alone():
    many, few = drawn(20, length=6).tokens, drawn(7, length=6).tokens
    np.testing.assert_array_equal(many[:7], few)
    padded = drawn(7, prompt=(0, 2, -1, -1), length=6).tokens
    np.testing.assert_array_equal(padded[:, :8], drawn(7, prompt=(0, 2), length=6).tokens)
    assert (padded[:, :2] == jnp.array([[0, 2]])).all()


@pytest.mark.checked
def test_decode_of_temperature_zero_is_the_likeliest_path():
    found = drawn(1, length=5, end=-1, settings=Decoding(length=5, temperature=0.0)).tokens[0]
    path = [0]
    for _ in range(5):
        path.append(int(jnp.argmax(TABLE[path[-1]])))
    assert found.tolist() == path


@pytest.mark.checked
def test_processors_at_their_identities_change_no_bit():
    processor = chain(temperature(1.0), top_k(12), top_p(1.0), min_p(0.0), typical(1.0), penalties(12))
    state = processor.init(jnp.zeros((50, 3), jnp.int32))
    np.testing.assert_array_equal(processor.apply(state, LOGITS), LOGITS)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_top_p_keeps_the_smallest_set_of_that_probability(p):
    kept = np.isfinite(top_p(p).apply((), LOGITS))
    for row, chosen in zip(np.asarray(LOGITS), kept, strict=True):
        order = np.argsort(-row)
        probs = np.exp(log_softmax(row))[order]
        num = int(np.searchsorted(np.cumsum(probs), p)) + 1
        assert set(np.flatnonzero(chosen)) == set(order[:num])


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_typical_keeps_tokens_nearest_to_the_entropy(p):
    kept = np.isfinite(typical(p).apply((), LOGITS))
    for row, chosen in zip(np.asarray(LOGITS), kept, strict=True):
        log_probs = log_softmax(row)
        distance = np.abs(-log_probs - stats.entropy(np.exp(log_probs)))
        order = np.argsort(distance)
        num = int(np.searchsorted(np.cumsum(np.exp(log_probs[order])), p)) + 1
        assert set(np.flatnonzero(chosen)) == set(order[:num])


def test_top_k_and_min_p_keep_what_they_say():
    assert (np.isfinite(top_k(3).apply((), LOGITS)).sum(axis=1) == 3).all()
    probs = np.exp(log_softmax(np.asarray(LOGITS), axis=-1))
    np.testing.assert_array_equal(
        np.isfinite(min_p(0.2).apply((), LOGITS)), probs >= 0.2 * probs.max(axis=1, keepdims=True)
    )


@pytest.mark.checked
def test_truncation_leaves_the_likeliest_token_under_any_logits():
    extreme = jnp.concatenate([LOGITS, 1e4 * LOGITS, jnp.full((1, 12), -1e30), jnp.eye(12) * -jnp.inf])
    extreme = jnp.where(jnp.isnan(extreme), 0.0, extreme)
    for processor in (top_k(1), top_p(1e-6), min_p(1.0), typical(1e-6), temperature(0.0), temperature(1e-3)):
        assert jnp.isfinite(processor.apply((), extreme)).any(axis=1).all()


@pytest.mark.parametrize("seed", range(5))
def test_chain_of_all_processors_leaves_a_token_under_any_logits(seed):
    """Adversarial logits: forbidden tokens, the largest and smallest numbers, ties; 10,000 rows in all."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-30, 38, (2000, 1))
    values = np.clip(rng.normal(size=(2000, 6)) * scale, -3e38, 3e38)
    values = np.where(rng.random((2000, 6)) < 0.3, rng.choice([0.0, 1.0, 3e38, -3e38], (2000, 6)), values)
    values = np.where(rng.random((2000, 6)) < rng.random((2000, 1)), -np.inf, values)
    values[np.arange(2000), rng.integers(0, 6, 2000)] = rng.choice([-3e38, 0.0, 3e38], 2000)
    settings = Decoding(
        length=4,
        temperature=[1e-30, 1.0, 1e6, 0.0, 0.7][seed],
        top_k=[1, 3, 6, 2, 1][seed],
        top_p=[1e-9, 0.5, 0.9, 1.0, 0.3][seed],
        min_p=[1.0, 0.1, 0.0, 0.5, 1e-9][seed],
        typical=[1e-9, 0.5, 0.2, 1.0, 0.9][seed],
        repetition=[1e6, 2.0, 1.0, 1.3, 5.0][seed],
        frequency=[1e6, 0.5, 0.0, 1.0, -1e6][seed],
        no_repeat_ngram=[1, 2, 1, 2, 1][seed],
        min_length=3,
    )
    processor, logits = settings.processor(6, 0), jnp.asarray(values, jnp.float32)

    @jax.jit
    def processed(logits, prompt, keys):
        found = processor.apply(processor.init(prompt), logits)
        return found, jax.vmap(jax.random.categorical)(keys, found)

    prompt = jnp.asarray(rng.integers(0, 6, (2000, 9)), jnp.int32)
    found, token = processed(logits, prompt, example_keys(jax.random.key(0), 2000))
    assert np.isfinite(found).any(axis=1).all()
    assert not np.isnan(found).any()
    assert np.isfinite(found[jnp.arange(2000), token]).all()
    assert np.isneginf(found)[np.isneginf(logits)].all()  # none comes back


def test_min_length_keeps_the_end_where_nothing_else_is_left():
    processor = min_length(2, 1)
    state, logits = processor.init(jnp.zeros((1, 1), jnp.int32)), jnp.array([[-jnp.inf, 0.5, -jnp.inf]])
    np.testing.assert_array_equal(processor.apply(state, logits), logits)


def logits_of(model, prompt, token):
    """Logits after a prompt, and after one more token."""
    first, cache = model.prefill(jnp.asarray(prompt, jnp.int32), 8)
    return np.asarray(first), np.asarray(model.extend(cache, jnp.asarray(token, jnp.int32))[0])


def counting():
    """A model whose logits are those of its last token, plus the number of tokens so far at token 0."""

    def logits(cache):
        last, num = cache
        return TABLE[last].at[:, 0].add(num.astype(jnp.float32)), cache

    def prefill(prompt, size):
        num = jnp.sum(prompt >= 0, axis=1)
        return logits((jnp.take_along_axis(prompt, num[:, None] - 1, axis=1)[:, 0], num))

    return SequenceModel(prefill, lambda cache, token: logits((token, cache[1] + 1)))


def test_guided_moves_logits_from_those_of_the_last_token_alone():
    prompt, token = [[0, 2, 1], [3, 1, -1]], [2, 0]
    for w in (0.0, 0.5, 1.0, 3.0):
        found = logits_of(guided(counting(), w), prompt, token)
        for now, last, num in zip(found, ([1, 1], token), ([3, 2], [4, 3]), strict=True):
            table = np.asarray(TABLE)[last]
            alone = 1 if now is found[0] else 2
            expected = table + (alone + w * (np.array(num) - alone))[:, None] * np.eye(4)[0]
            np.testing.assert_allclose(now, expected, atol=1e-5)
    for own, same in zip(
        logits_of(counting(), prompt, token), logits_of(guided(counting(), 1.0), prompt, token), strict=True
    ):
        np.testing.assert_array_equal(own, same)


def test_contrasted_adds_the_difference_of_the_experts():
    tables = [TABLE, TABLE.T, TABLE[::-1]]
    models = [markov(table) for table in tables]
    prompt, token = [[0, 2], [1, -1]], [3, 0]
    found = logits_of(contrasted(*models, 2.0), prompt, token)
    for now, last in zip(found, ([2, 1], token), strict=True):
        base, expert, anti = (np.asarray(table)[last] for table in tables)
        np.testing.assert_allclose(now, base + 2 * (expert - anti), atol=1e-5)
    for own, same in zip(
        logits_of(models[0], prompt, token), logits_of(contrasted(*models, 0.0), prompt, token), strict=True
    ):
        np.testing.assert_array_equal(own, same)


def test_penalties_count_the_prompt_and_what_was_drawn():
    processor = penalties(4, repetition=2.0, frequency=0.5)
    state = processor.init(jnp.array([[0, 1, 1, -1]]))  # the first one is the start
    logits = jnp.array([[1.0, 1.0, -1.0, 3.0]])
    assert processor.apply(state, logits).tolist() == [[1.0, -0.5, -1.0, 3.0]]
    state = processor.update(state, jnp.array([2]))
    assert processor.apply(state, logits).tolist() == [[1.0, -0.5, -2.5, 3.0]]
    state = processor.update(state, jnp.array([-1]))
    assert processor.apply(state, logits).tolist() == [[1.0, -0.5, -2.5, 3.0]]


@pytest.mark.one_case
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_repeat_ngram_forbids_what_a_loop_over_the_text_finds(size):
    processor = no_repeat_ngram(size, 20)
    prompt = jnp.asarray(NUMBERS.integers(0, 3, (8, 2)), jnp.int32)
    state, rows = processor.init(prompt), np.asarray(prompt).tolist()
    for _ in range(12):
        logits = np.asarray(processor.apply(state, jnp.zeros((8, 3))))
        tokens = []
        for row, found in zip(rows, logits, strict=True):
            ngrams = {tuple(row[i : i + size]) for i in range(len(row) - size + 1)}
            forbidden = [
                tuple((*row[len(row) - size + 1 :], token)) in ngrams and len(row) >= size - 1 for token in range(3)
            ]
            expected = [False] * 3 if all(forbidden) else forbidden
            assert np.isneginf(found).tolist() == expected
            tokens.append(int(NUMBERS.choice(np.flatnonzero(np.isfinite(found)))))
            row.append(tokens[-1])
        state = processor.update(state, jnp.asarray(tokens))


def test_min_length_delays_the_end():
    tokens = drawn(300, length=8, settings=Decoding(length=8, min_length=4)).tokens
    assert (np.asarray(tokens)[:, :5] >= 0).all()
    assert (np.asarray(tokens)[:, 5] < 0).any()


@pytest.mark.unchecked_types
def test_decoding_compiles_once_for_all_values():
    """Settings may be traced numbers: sweeps over them share one program."""
    traces = []

    @jax.jit
    def draw(value, p):
        traces.append(1)
        least = jnp.int32(10 * p) - 7
        settings = Decoding(
            3, value, top_k=least, top_p=p, min_p=p, typical=p, repetition=value, frequency=p, min_length=least
        )
        model = contrasted(guided(markov(), value), markov(), markov(TABLE.T), p)
        keys = example_keys(jax.random.key(0), 4)
        return decode(
            model, jnp.zeros((4, 1), jnp.int32), keys, length=3, end=END, processor=settings.processor(4, END)
        ).tokens

    for value, p in ((0.5, 0.9), (1.0, 0.8), (2.0, 1.0), (0.0, 0.9)):
        draw(jnp.float32(value), jnp.float32(p))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"repetition": 0.5},
        {"length": 0},
        {"temperature": float("nan")},
        {"num_beams": 0},
        {"guidance": -1.0},
    ],
)
def test_decoding_refuses_settings_out_of_range(settings):
    with pytest.raises(UsageError, match=f"expected {next(iter(settings))} "):
        Decoding(**settings).processor(4, END)


def test_least_length_leaves_a_token_where_all_have_occurred():
    """No token may occur twice, and the end not yet: repetition is the lesser evil."""

    def flat(rows):
        return jnp.zeros((len(rows), 4)), ()

    model = SequenceModel(lambda prompt, size: flat(prompt), lambda cache, token: flat(token))
    settings = Decoding(length=10, no_repeat_ngram=1, min_length=9)
    keys = jax.random.split(jax.random.key(0), 5)
    found = decode(model, jnp.full((5, 1), 3), keys, length=10, end=3, processor=settings.processor(4, 3))
    assert jnp.isfinite(found.log_prob).all()
    assert jnp.all(jnp.sum(found.tokens[:, 1:] >= 0, axis=1) >= 9)
    assert jnp.all(jnp.sort(found.tokens[:, 1:4], axis=1) == jnp.arange(3)[None])


@pytest.mark.checked
def test_start_token_counts_neither_for_penalties_nor_for_the_end():
    """In a text of several documents the start is the end too."""
    prompt = jnp.array([[3, 1, PAD]])
    processor = Decoding(repetition=2.0, frequency=1.0, no_repeat_ngram=1).processor(4, 3)
    logits = processor.apply(processor.init(prompt), jnp.ones((1, 4)))
    assert logits.tolist() == [[1.0, -jnp.inf, 1.0, 1.0]]


@pytest.mark.parametrize("setting", [{"frequency": float("nan")}, {"top_k": 3 * 10**9}, {"no_repeat_ngram": 10**9}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(UsageError, match="expected"):
        Decoding(**setting).check()
