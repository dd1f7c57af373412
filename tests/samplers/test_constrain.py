"""Samples under a rule are texts of it and end in time; with more candidates they follow the model given the rule."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from aigc_jax.inference.constrained import with_rule
from aigc_jax.rng import example_keys
from aigc_jax.rules.bytes import accepts, intersection
from aigc_jax.rules.lift import lift
from aigc_jax.rules.look_ahead import look_ahead
from aigc_jax.rules.regex import regex
from aigc_jax.rules.words import forbid
from aigc_jax.samplers.beam import beam_search
from aigc_jax.samplers.constrain import constrained, log_allowed
from aigc_jax.samplers.decoding import Decoding, decode, guided
from aigc_jax.types import Algorithm, Experiment, SequenceModel, Sequences, UsageError

VOCABULARY = [b"a", b"b", b"ab", b" ", b"bad", b""]
END = 5
LENGTH = 6
RULE = "((ab|b)+ )*a(ab)*"
KEY = jax.random.key(0)


def chain_model(logits):
    """Each token's logits depend on the one before: [V, V]."""
    logits = jnp.asarray(logits, jnp.float32)

    def prefill(prompt, size):
        del size
        last = jnp.take_along_axis(prompt, jnp.sum(prompt >= 0, axis=1)[:, None] - 1, axis=1)[:, 0]
        return logits[last], jnp.zeros((len(prompt), 1))

    return SequenceModel(prefill, lambda cache, token: (logits[token], cache))


LOGITS = np.random.default_rng(0).normal(size=(6, 6)) * 1.5
ADVERSARIAL = np.where(np.arange(6) == END, -1e4, np.where(np.arange(6) == 4, 1e4, 0.0)) * np.ones((6, 1))
"""Logits of a model that never ends, and wants the forbidden word."""


def texts(tokens):
    return [b"".join(VOCABULARY[token] for token in row[1:] if token >= 0) for row in np.asarray(tokens)]


def drawn(logits, rule, num, *, length=LENGTH, sampling=None, prompt=(END,)):
    sampling = sampling or Decoding(length)
    how = {"end": END, "length": length, "temperature": sampling.temperature}
    model = constrained(chain_model(logits), lift(rule, VOCABULARY), **how)
    prompt = jnp.tile(jnp.asarray(prompt)[None], (num, 1))
    processor = sampling.processor(6, END)
    draw = jax.jit(lambda keys: decode(model, prompt, keys, length=length, end=END, processor=processor).tokens)
    return np.asarray(draw(example_keys(KEY, num)))


DIVERGED = np.array([np.nan, np.inf, -np.inf, np.nan, np.inf, -np.inf])[:, None] * np.ones((6, 6))
"""Logits of a model whose weights are no numbers any more."""


@pytest.mark.one_case
@pytest.mark.parametrize(
    "logits",
    [LOGITS, ADVERSARIAL, np.zeros((6, 6)), DIVERGED],
    ids=["trained", "adversarial", "flat", "diverged"],
)
@pytest.mark.parametrize("length", [2, 6])
@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"top_k": 2, "top_p": 0.1, "repetition": 2.0}])
def test_each_sample_is_allowed_and_ends_in_time(logits, length, settings):
    rule = intersection(regex(RULE), forbid(["bad"]))
    samples = drawn(logits, rule, 50, length=length, sampling=Decoding(length, **settings))
    assert samples.shape == (50, 1 + length)
    assert all(accepts(rule, text) for text in texts(samples))


def test_a_prompt_is_a_part_of_the_text():
    rule = regex(RULE)
    found = texts(drawn(LOGITS, rule, 50, prompt=[END, 2, 3, -1]))  # "ab ", padded
    assert all(text.startswith(b"ab ") and accepts(rule, text) for text in found)
    assert len(set(found)) > 1


def test_a_sample_under_a_rule_depends_on_its_own_key_alone():
    rule = regex(RULE)
    np.testing.assert_array_equal(drawn(LOGITS, rule, 64)[:7], drawn(LOGITS, rule, 7))


@pytest.mark.checked
def test_guidance_comes_before_the_rule():
    model = constrained(guided(chain_model(LOGITS), 3.0), lift(regex(RULE), VOCABULARY), end=END, length=LENGTH)
    prompt = jnp.tile(jnp.array([[END, 2, 3]]), (20, 1))
    found = decode(model, prompt, example_keys(KEY, 20), length=LENGTH, end=END, processor=Decoding().processor(6, END))
    assert all(accepts(regex(RULE), text) for text in texts(found.tokens))
    assert np.isfinite(found.log_prob).all()


@functools.cache
def enumerated(length=LENGTH):
    """All sequences of tokens of the rule, with their log-probabilities under the model, the end included."""
    rule, found = regex(RULE), {}
    log_probs = log_softmax(LOGITS, axis=1)
    for num in range(length + 1):
        for row in itertools.product(range(5), repeat=num):
            if accepts(rule, b"".join(VOCABULARY[token] for token in row)):
                path = [END, *row, END] if num < length else [END, *row]
                found[row] = sum(log_probs[a, b] for a, b in itertools.pairwise(path))
    return list(found), np.array(list(found.values()))


def masked_log_prob(row, length):
    """Of a sequence as the mask draws it."""
    automaton, total, last = lift(regex(RULE), VOCABULARY), 0.0, END
    state = automaton.start
    for place in range(min(len(row) + 1, length)):
        allowed = automaton.need[state][automaton.kinds] < length - place
        allowed[END] = automaton.accepts[state]
        token = row[place] if place < len(row) else END
        total += LOGITS[last, token] - logsumexp(LOGITS[last][allowed])
        if token != END:
            state, last = automaton.next[state, automaton.kinds[token]], token
    return total


@pytest.mark.checked
def test_beam_search_under_a_rule_finds_its_likeliest_text():
    sequences, _ = enumerated(3)
    model = constrained(chain_model(LOGITS), lift(regex(RULE), VOCABULARY), end=END, length=3)
    processor = Decoding(3).processor(6, END)
    prompt = jnp.full((1, 1), END)
    found = beam_search(model, prompt, length=3, end=END, num_beams=64, processor=processor).tokens[0, 1:]
    best = max(sequences, key=lambda row: masked_log_prob(row, 3))
    assert tuple(token for token in found.tolist() if token >= 0) == best


@pytest.mark.checked
def test_log_allowed_is_the_log_of_the_importance_weight():
    """log p(sequence) - log q(sequence), of the model and of the mask."""
    sequences, log_probs = enumerated()
    tokens = np.full((len(sequences), 1 + LENGTH), -1)
    tokens[:, 0] = END
    for line, row in zip(tokens, sequences, strict=True):
        line[1 : 1 + len(row)] = row
    logits = jnp.asarray(LOGITS, jnp.float32)[jnp.maximum(tokens[:, :-1], 0)]
    sizes = jnp.ones(len(tokens), jnp.int32)
    found = log_allowed(logits, jnp.asarray(tokens), sizes, lift(regex(RULE), VOCABULARY), end=END, length=LENGTH)
    expected = [log_prob - masked_log_prob(row, LENGTH) for row, log_prob in zip(sequences, log_probs, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def experiment():
    """The chain as an experiment."""

    def draw(model, keys, condition, rule=None):
        prompt = jnp.full((len(keys), 1), END)
        processor = Decoding(LENGTH).processor(6, END)
        return decode(rule(model), prompt, keys, length=LENGTH, end=END, processor=processor).tokens

    def logits(variables, tokens, condition):
        return jnp.asarray(LOGITS, jnp.float32)[jnp.maximum(tokens[:, :-1], 0)]

    sequences = Sequences(lambda variables: chain_model(LOGITS), draw)
    algorithm = Algorithm(None, None, None, None, sequences=sequences, logits=logits)
    return Experiment(algorithm, None, {}, None)


@pytest.mark.checked
def test_more_candidates_are_nearer_to_the_model_given_the_rule():
    """Total variation from the exact distribution, of a rule that 1 % of the model's texts obey."""
    sequences, log_probs = enumerated()
    exact, number = np.exp(log_probs - logsumexp(log_probs)), {row: i for i, row in enumerate(sequences)}
    rule, num, distances = lift(regex(RULE), VOCABULARY), 4000, []
    for candidates in (1, 16, 256):
        found = with_rule(experiment(), rule, end=END, length=LENGTH, num_candidates=candidates)
        sample = jax.jit(found.experiment.algorithm.sample, static_argnums=2)
        tokens = np.asarray(sample({}, KEY, num, None))
        counts = np.bincount([number[tuple(row[row >= 0][1:].tolist())] for row in tokens], minlength=len(exact))
        distances.append(np.abs(counts / num - exact).sum() / 2)
    noise = np.sqrt(2 * exact * (1 - exact) / (np.pi * num)).sum() / 2  # mean distance of exact draws
    assert distances[0] > 0.7
    assert distances[1] < 0.4
    assert distances[2] < noise + 0.02


def pairs_ahead():
    """The look-ahead of the chain, whose tokens depend on the one before alone."""
    log_probs = log_softmax(LOGITS, axis=1)
    return jnp.asarray(look_ahead(log_probs, lift(regex(RULE), VOCABULARY), end=END, length=LENGTH))


def test_look_ahead_is_the_probability_of_an_allowed_end():
    _, log_probs = enumerated()
    assert pairs_ahead()[LENGTH, END, 0] == pytest.approx(logsumexp(log_probs), abs=1e-4)
    _, short = enumerated(3)
    assert pairs_ahead()[3, END, 0] == pytest.approx(logsumexp(short), abs=1e-4)


def test_look_ahead_of_the_exact_pairs_samples_from_the_model_given_the_rule():
    """One candidate of the exact distribution, whose weights are all the probability of the rule."""
    sequences, log_probs = enumerated()
    exact, number = np.exp(log_probs - logsumexp(log_probs)), {row: i for i, row in enumerate(sequences)}
    rule, num = lift(regex(RULE), VOCABULARY), 4000
    how = {"end": END, "length": LENGTH, "look_ahead": pairs_ahead()}
    sample = jax.jit(with_rule(experiment(), rule, **how).experiment.algorithm.sample, static_argnums=2)
    tokens = np.asarray(sample({}, KEY, num, None))
    counts = np.bincount([number[tuple(row[row >= 0][1:].tolist())] for row in tokens], minlength=len(exact))
    noise = np.sqrt(2 * exact * (1 - exact) / (np.pi * num)).sum() / 2
    assert np.abs(counts / num - exact).sum() / 2 < noise + 0.01
    weights = with_rule(experiment(), rule, num_candidates=2, **how).weigh({}, KEY, 50, None)
    np.testing.assert_allclose(weights, logsumexp(log_probs), atol=1e-3)


@pytest.mark.checked
def test_a_temperature_leaves_the_look_ahead_as_it_is():
    """Logits twice as large at temperature 2 are the same model."""
    rule = lift(regex(RULE), VOCABULARY)
    drawn = []
    for scale in (1.0, 2.0):
        ahead = {"look_ahead": pairs_ahead(), "temperature": scale}
        model = constrained(chain_model(scale * LOGITS), rule, end=END, length=LENGTH, **ahead)
        processor = Decoding(LENGTH, temperature=scale).processor(6, END)
        prompt, keys = jnp.full((50, 1), END), example_keys(KEY, 50)
        drawn.append(decode(model, prompt, keys, length=LENGTH, end=END, processor=processor).tokens)
    np.testing.assert_array_equal(*drawn)


def test_exact_samples_of_experts_are_refused():
    other = experiment()
    other = other._replace(algorithm=other.algorithm._replace(logits=None))
    with pytest.raises(UsageError, match="experts have no logits"):
        with_rule(other, lift(regex(RULE), VOCABULARY), end=END, length=LENGTH, num_candidates=2)


def test_advice_costs_its_penalty_and_leaving_the_rule_is_free():
    """The first token: those of the rule keep their odds, the others have exactly so many nats less."""
    automaton = lift(regex(RULE), VOCABULARY)
    prompt = jnp.full((1, 1), END)
    free, _ = chain_model(LOGITS).prefill(prompt, 1)
    how = {"end": END, "length": LENGTH}
    mask = np.isfinite(constrained(chain_model(LOGITS), automaton, **how).prefill(prompt, 1)[0])
    assert 0 < mask.sum() < mask.size
    advised = constrained(chain_model(LOGITS), automaton, penalty=2.5, **how)
    found, progress = advised.prefill(prompt, 1)
    np.testing.assert_allclose(found - free, np.where(mask, 0.0, -2.5), atol=1e-6)
    # " " begins no text of the rule: what follows it is the model's own.
    after, _ = advised.extend(progress, jnp.array([3]))
    np.testing.assert_array_equal(after, chain_model(LOGITS).extend(None, jnp.array([3]))[0])


@pytest.mark.checked
def test_advice_of_a_high_price_is_obeyed_and_of_a_low_one_is_not():
    automaton, processor = lift(regex(RULE), VOCABULARY), Decoding().processor(6, END)
    shares = []
    for penalty in (0.5, 30.0):
        model = constrained(chain_model(LOGITS), automaton, end=END, length=LENGTH, penalty=penalty)
        keys, prompt = example_keys(KEY, 200), jnp.full((200, 1), END)
        tokens = decode(model, prompt, keys, length=LENGTH, end=END, processor=processor).tokens
        shares.append(np.mean([accepts(regex(RULE), text) for text in texts(tokens)]))
    assert shares[0] < 0.9
    assert shares[1] == 1.0
