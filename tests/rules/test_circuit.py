"""Weighted model counts against brute force, closed forms and a transfer matrix."""

import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.rules import circuit as module
from aigc_jax.rules.circuit import circuit, log_wmc, weights_of
from aigc_jax.rules.diagram import diagram
from aigc_jax.rules.formula import formula, is_true
from aigc_jax.types import UsageError
from aigc_jax.types.rules import FALSE

BITS = ("no", "yes")
SMALL = {"p": BITS, "q": BITS, "shape": ("disc", "cross", "ring"), "a": tuple("0123"), "b": tuple("0123")}
RULES = (
    "not (p and q)",
    "p -> shape == disc or a + b == 3",
    "exactly(1, p, q, a == b) and shape != ring",
    "at_least(2, p, q, disc) <-> a * b > 2",
    "all_different(a, b) or not p",
    "p or not p",
    "a < b < 3",
)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def counted(rule, probabilities):
    """Brute force: the probability of a formula, and of each value given it."""
    sizes = [len(each) for each in probabilities]
    indices = dict(zip(rule.attributes, np.ix_(*map(np.arange, sizes)), strict=True))
    weights = np.where(is_true(rule, indices), np.float64(1), 0)
    for axis, own in enumerate(probabilities):
        weights = weights * own.reshape([-1 if other == axis else 1 for other in range(len(sizes))])
    total = weights.sum()
    marginals = [weights.sum(axis=tuple(np.delete(np.arange(len(sizes)), axis))) / total for axis in range(len(sizes))]
    return total, np.concatenate(marginals)


def drawn(rule, rng):
    return [rng.dirichlet(np.ones(len(values))) for values in rule.attributes.values()]


def value_and_grad(found, weights):
    return jax.jit(jax.value_and_grad(lambda weights: log_wmc(found, weights)))(weights)


@pytest.mark.one_case
@pytest.mark.parametrize("text", RULES)
@pytest.mark.parametrize("is_enumerated", [True, False], ids=["enumerated", "sentential"])
def test_count_and_gradient_are_those_of_brute_force(text, is_enumerated, rng, monkeypatch):
    if not is_enumerated:
        pytest.importorskip("pysdd")
        monkeypatch.setattr(module, "MAX_ASSIGNMENTS", 1)
    rule = formula(text, SMALL)
    found, probabilities = circuit(rule), drawn(rule, rng)
    total, marginals = counted(rule, probabilities)
    value, gradient = value_and_grad(found, np.log(np.concatenate(probabilities)))
    assert float(jnp.exp(value)) == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(gradient, marginals, atol=1e-12)


@pytest.mark.parametrize("text", RULES)
def test_circuits_are_smooth_decomposable_and_deterministic(text):
    """Of each value its attributes and, as a set, the assignments of these that it counts."""
    rule = formula(text, SMALL)
    found = circuit(rule)
    leaves = [
        ((name,), {(value,)}) for name, size in zip(found.attributes, found.sizes, strict=True) for value in range(size)
    ]
    values = [((), set()), ((), {()}), *leaves]
    for level in found.levels:
        sums = [[] for _ in range(level.num_nodes)]
        for first, second, node in zip(level.first, level.second, level.node, strict=True):
            assert FALSE not in (first, second)
            assert not set(values[first][0]) & set(values[second][0])
            pairs = itertools.product(values[first][1], values[second][1])
            sums[node].append((values[first][0] + values[second][0], {a + b for a, b in pairs}))
        for products in sums:
            assert len({names for names, _ in products}) == 1
            together = set().union(*(cases for _, cases in products))
            assert len(together) == sum(len(cases) for _, cases in products)
            values.append((products[0][0], together))
    names, models = values[-1]
    assert names == found.attributes
    every = list(itertools.product(*map(range, found.sizes)))
    obeying = is_true(rule, dict(zip(found.attributes, np.array(every).T, strict=True)))
    assert models == {each for each, is_obeying in zip(every, obeying, strict=True) if is_obeying}


@pytest.mark.slow
def test_twenty_bits_have_the_binomial_count():
    names = {f"x{i}": BITS for i in range(20)}
    found = circuit(formula(f"exactly(7, {', '.join(names)})", names))
    assert found.num_products < 20 * 16
    value, gradient = value_and_grad(found, jnp.zeros(40))
    assert float(value) == pytest.approx(math.log(math.comb(20, 7)), abs=1e-12)
    np.testing.assert_allclose(gradient.reshape(20, 2), np.tile([13 / 20, 7 / 20], (20, 1)), atol=1e-12)


def test_sums_of_digits_have_a_small_circuit():
    digits = dict.fromkeys("abcd", tuple("0123456789"))
    found = circuit(formula("a + b == c + d", digits))
    assert float(jax.jit(lambda weights: log_wmc(found, weights))(jnp.zeros(40))) == pytest.approx(math.log(670))
    assert found.num_products < 600


def test_impossible_values_have_no_gradient_that_is_nan():
    found = circuit(formula("p and q or not p", SMALL))
    for weights in ([0.0, -jnp.inf, 0.0, -jnp.inf], [-jnp.inf, 0.0, 0.0, -jnp.inf], [-jnp.inf] * 4):
        value, gradient = value_and_grad(found, jnp.array(weights, jnp.float32))
        assert np.isfinite(np.asarray(gradient)).all()
        assert value == (0.0 if weights[0] == 0 else -jnp.inf)
    # The probability of "yes" is 0, and yet weights of single precision do not end in underflow.
    value, gradient = value_and_grad(found, jnp.array([-400.0, -500.0, 0.0, -300.0], jnp.float32))
    assert float(value) == -400.0
    np.testing.assert_array_equal(gradient, [1, 0, 1, 0])


@pytest.mark.slow
def test_weights_come_by_rows_and_by_name(rng):
    rule = formula("p -> a == 2", SMALL)
    found = circuit(rule)
    log_probs = {name: jnp.log(rng.dirichlet(np.ones(num), 5)) for name, num in (("p", 2), ("a", 4))}
    rows = log_wmc(found, weights_of(found, log_probs))
    for row in range(5):
        own = [np.exp(log_probs["p"][row]), np.exp(log_probs["a"][row])]
        assert float(jnp.exp(rows[row])) == pytest.approx(counted(rule, own)[0], abs=1e-12)
    always = circuit(formula("true", SMALL))
    np.testing.assert_array_equal(log_wmc(always, weights_of(always, log_probs)), np.zeros(5))
    with pytest.raises(ValueError, match="6 weights"):
        log_wmc(found, jnp.zeros(5))
    with pytest.raises(ValueError, match="a has 4 values"):
        weights_of(found, {"p": jnp.zeros(2), "a": jnp.zeros(3)})


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(3, 8), (8, 10)])
def test_independent_sets_of_a_grid_against_the_transfer_matrix(rows, columns, rng):
    """No two neighbours of a grid are both set: by columns, the states without neighbours and which may follow."""
    pytest.importorskip("pysdd")
    cells = {f"c{i}x{j}": BITS for i in range(rows) for j in range(columns)}
    sides = [(f"c{i}x{j}", f"c{i}x{j + 1}") for i in range(rows) for j in range(columns - 1)]
    sides += [(f"c{i}x{j}", f"c{i + 1}x{j}") for i in range(rows - 1) for j in range(columns)]
    found = circuit(formula(" and ".join(f"not ({a} and {b})" for a, b in sides), cells))
    chances = rng.uniform(0.05, 0.95, (rows, columns))
    states = np.array([s for s in itertools.product((0, 1), repeat=rows) if not np.any(np.array(s[1:]) * s[:-1])])
    may_follow = (states @ states.T == 0).astype(float)
    total = np.ones(len(states))
    for column in range(columns):
        own = np.where(states, chances[:, column], 1 - chances[:, column]).prod(axis=1)
        total = own * (may_follow @ total if column else total)
    weights = np.log(np.stack([1 - chances, chances], axis=-1).ravel())
    value, gradient = value_and_grad(found, weights)
    assert float(value) == pytest.approx(np.log(total.sum()), abs=1e-12 * abs(np.log(total.sum())) + 1e-12)
    np.testing.assert_allclose(gradient.reshape(-1, 2).sum(axis=1), 1, atol=1e-12)


@pytest.mark.slow
def test_sudoku_has_288_grids():
    pytest.importorskip("pysdd")
    cells = {f"c{i}{j}": tuple("1234") for i in range(4) for j in range(4)}
    groups = [[f"c{i}{j}" for j in range(4)] for i in range(4)] + [[f"c{j}{i}" for j in range(4)] for i in range(4)]
    groups += [[f"c{i + a}{j + b}" for a in (0, 1) for b in (0, 1)] for i in (0, 2) for j in (0, 2)]
    rule = formula(" and ".join(f"all_different({', '.join(group)})" for group in groups), cells)
    found = circuit(rule)
    value = jax.jit(lambda weights: log_wmc(found, weights))(jnp.zeros(64))
    assert float(jnp.exp(value)) == pytest.approx(288)


def test_formulas_without_a_circuit_are_one_line(monkeypatch):
    with pytest.raises(UsageError, match=r"no values of a, b obey the rule 'a \+ b > 6'"):
        circuit(formula("a + b > 6", SMALL))
    many = {f"x{i}": BITS for i in range(300)}
    with pytest.raises(UsageError, match="300 variables, expected at most 256"):
        circuit(formula(" or ".join(many), many))
    with pytest.raises(UsageError, match="more than 1048576: split it"):
        diagram(formula("x0", many), many)
    monkeypatch.setattr(module, "MAX_ASSIGNMENTS", 4)
    monkeypatch.setitem(sys.modules, "pysdd", None)
    monkeypatch.setitem(sys.modules, "pysdd.sdd", None)
    with pytest.raises(UsageError, match=r"pip install 'aigc-jax\[logic\]'"):
        circuit(formula("a == b", SMALL))


def test_what_large_circuits_cost_is_limited(monkeypatch):
    pytest.importorskip("pysdd")
    from aigc_jax.rules import sentential

    monkeypatch.setattr(sentential, "MAX_ELEMENTS", 200)
    names = {f"x{i}": BITS for i in range(40)}
    with pytest.raises(UsageError, match="more than 200 elements"):
        circuit(formula(f"exactly(20, {', '.join(names)})", names))
    with pytest.raises(UsageError, match="no values of"):
        circuit(formula(f"x0 and not x0 and ({' or '.join(names)})", names))
