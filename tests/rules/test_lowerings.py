"""A rule as a check, as a mask and as an energy: equal on all assignments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.losses.semantic import IMPOSSIBLE, semantic, semantic_loss
from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.circuit import circuit, log_wmc, weights_of
from aigc_jax.rules.formula import formula, is_true
from aigc_jax.rules.lift import lift
from aigc_jax.rules.spelling import spelled
from aigc_jax.types import UsageError

BITS = {name: ("0", "1") for name in "abcdefghijklmnopqrst"}
CONDITIONS = {name: ("no", "yes") for name in BITS}


def all_texts(num):
    """All assignments of bits, [2^num, num]."""
    return (np.arange(2**num)[:, None] >> np.arange(num)[::-1] & 1).astype(np.int32)


def walked(automaton, texts):
    """Whether an automaton accepts each text, all at once."""
    state = np.full(len(texts), automaton.start)
    table = np.append(automaton.next, np.full((1, 256), -1, np.int32), axis=0)
    for column in texts.T:
        state = table[state, column]
    return np.append(automaton.accepts, False)[state]


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("num", "text"),
    [
        (8, "not (a and b)"),
        (8, "exactly(3, a, b, c, d, e, f, g, h)"),
        (8, "(a -> b) and (b <-> c or d) and not (e and f and g)"),
        (8, "a or not a"),
        (8, "count(a, b, c, d) == count(e, f, g, h)"),
        (12, "at_least(4, a, b, c, d, e, f) -> at_most(1, g, h, i, j, k, l)"),
        pytest.param(
            20,
            "exactly(2, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)",
            marks=[pytest.mark.slow, pytest.mark.optimized],
        ),
    ],
)
def test_check_mask_and_energy_agree_on_all_assignments_of_bits(num, text):
    spellings = dict(list(BITS.items())[:num])
    rule = formula(text, dict(list(CONDITIONS.items())[:num]))
    values = all_texts(num)
    expected = is_true(rule, dict(zip(spellings, values.T, strict=True)))
    mask = spelled(rule, spellings, separator="")
    np.testing.assert_array_equal(walked(mask, values + ord("0")), expected)
    assert not walked(mask, values[:1000, 1:] + ord("0")).any()
    found = circuit(rule)
    columns = [list(spellings).index(name) for name in found.attributes]

    @jax.jit
    def counts(rows):
        certain = jnp.where(jnp.arange(2)[None, None] == rows[:, columns][..., None], 0.0, -jnp.inf)
        return log_wmc(found, certain.reshape(len(rows), -1))

    chunk = min(len(values), 2**15)
    energies = -np.concatenate([counts(rows) for rows in np.split(values, len(values) // chunk)])
    np.testing.assert_array_equal(np.exp(-energies), expected)


@pytest.mark.slow
def test_check_mask_and_energy_agree_on_names_and_numbers():
    attributes = {"shape": ("disc", "square"), "size": ("1", "2", "10"), "number": ("1", "2", "10", "12")}
    rule = formula("square -> size + number == 12", attributes)
    mask, found = spelled(rule, attributes, separator=", "), circuit(rule)
    for shape, kind in enumerate(attributes["shape"]):
        for size, small in enumerate(attributes["size"]):
            for number, large in enumerate(attributes["number"]):
                obeys = bool(is_true(rule, {"shape": shape, "size": size, "number": number}))
                assert accepts(mask, f"{kind}, {small}, {large}".encode()) == obeys
                log_probs = {
                    name: jnp.where(jnp.arange(len(values)) == index, 0.0, -jnp.inf)
                    for (name, values), index in zip(attributes.items(), (shape, size, number), strict=True)
                }
                assert float(jnp.exp(log_wmc(found, weights_of(found, log_probs)))) == obeys
    assert not accepts(mask, b"disc, 1")
    assert not accepts(mask, b"disc, 1, 1, ")
    assert lift(mask, [bytes([byte]) for byte in range(256)]).length == len("disc, 1, 1")


def test_values_that_begin_others_are_refused():
    attributes = {"a": ("1", "10"), "b": ("0", "1")}
    rule = formula("a == 10 or b == 1", attributes)
    with pytest.raises(UsageError, match="the value '1' of a, with its separator, begins '10'"):
        spelled(rule, attributes, separator="")
    assert accepts(spelled(rule, attributes), b"10 0")
    with pytest.raises(UsageError, match="no values of a obey"):
        spelled(formula("a > 10", attributes), attributes)


@pytest.mark.slow
def test_semantic_loss_is_that_of_the_paper():
    """Xu et al. 2018, section 4: of exactly one of n, -log sum_i p_i prod_{j != i} (1 - p_j)."""
    names = ("a", "b", "c")
    rule = circuit(formula("exactly(1, a, b, c)", {name: ("no", "yes") for name in names}))
    chances = np.array([[0.2, 0.7, 0.1], [0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = {name: jnp.log(jnp.stack([1 - own, own], axis=-1)) for name, own in zip(names, chances.T, strict=True)}
        ones = [chances[:, i] * np.delete(1 - chances, i, axis=1).prod(axis=1) for i in range(3)]
        expected = np.minimum(-np.log(np.sum(ones, axis=0)), IMPOSSIBLE)
    np.testing.assert_allclose(semantic_loss(rule, logs), expected, rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda logs: semantic_loss(rule, logs).sum())(logs)
    assert all(np.isfinite(np.asarray(each)).all() for each in gradient.values())


def test_semantic_loss_of_what_is_nearly_impossible_has_a_gradient():
    rule = circuit(formula("a and b", {name: ("no", "yes") for name in "ab"}))

    def loss(logit):
        return semantic_loss(rule, {name: jax.nn.log_softmax(jnp.stack([-logit, logit], axis=-1)) for name in "ab"})[0]

    # Of logits of -60, 2 * 120 nats; each of four logits by one.
    np.testing.assert_allclose(loss(jnp.array([-60.0])), 240.0, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(loss)(jnp.array([-60.0])), [-4.0], rtol=1e-6)


def test_semantic_loss_is_added_with_its_weight_and_metric():
    rule = circuit(formula("a", {"a": ("no", "yes")}))

    def loss_fn(params, model_state, batch, key):
        return jnp.array([1.0, 2.0]), (model_state, {"own": jnp.float32(3)})

    def read(examples):
        return {"a": jax.nn.log_softmax(jnp.stack([0 * examples, examples], axis=-1))}

    def examples(params, model_state, batch, key):
        return params * batch["example"], jnp.array([1.0, 0.5])

    transform = semantic(rule, read, examples, weight=2.0)(loss_fn)
    values, (state, metrics) = transform(
        jnp.float32(3), {"s": 1}, {"example": jnp.array([0.0, 1.0])}, jax.random.key(0)
    )
    nats = np.log1p(np.exp([0.0, -3.0]))
    np.testing.assert_allclose(values, [1, 2] + np.array([2, 1]) * nats, rtol=1e-6)
    np.testing.assert_allclose(metrics["semantic"], nats, rtol=1e-6)
    assert state == {"s": 1}
    assert float(metrics["own"]) == 3
    with pytest.raises(UsageError, match="weight of the rule >= 0"):
        semantic(rule, read, examples, weight=float("nan"))
