"""Categorical processes: against products of transition matrices, rates that scipy integrates, and exact entropies."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from aigc_jax.processes.discrete import absorbing, cosine, draw_states, linear, uniform
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

KINDS = {"absorbing": absorbing, "uniform": uniform}
VOCAB, NUM_STEPS = 3, 5


def transition(kind, beta):
    """One step of D3PM as its matrix, q(x_t = column | x_{t-1} = row): Austin et al. 2021, appendix A.2."""
    if kind == "uniform":
        return (1 - beta) * np.eye(VOCAB) + beta / VOCAB * np.ones((VOCAB, VOCAB))
    mask = np.zeros((VOCAB + 1, VOCAB + 1))
    mask[:, VOCAB] = 1.0
    return (1 - beta) * np.eye(VOCAB + 1) + beta * mask


def chain(kind):
    """The matrices of all steps with beta_t = 1 / (T - t + 1), in float64."""
    return [transition(kind, 1.0 / (NUM_STEPS - t + 1)) for t in range(1, NUM_STEPS + 1)]


def tokens(values):
    return jnp.asarray(values, jnp.int32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_categorical_marginal_is_the_product_of_transition_matrices(kind):
    process, product = KINDS[kind](VOCAB), np.eye(len(transition(kind, 0.0)))
    for t, matrix in enumerate(chain(kind), start=1):
        product = product @ matrix
        ours = process.marginal(jnp.arange(VOCAB), jnp.full(VOCAB, t / NUM_STEPS))
        np.testing.assert_allclose(ours, product[:VOCAB], atol=1e-6)
        states = jnp.arange(process.num_states)
        theirs = process.likelihood(states, jnp.full(process.num_states, t / NUM_STEPS))
        np.testing.assert_allclose(theirs, product.T[:, :VOCAB], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_categorical_reverse_is_bayes_rule_on_the_matrices(kind):
    process, matrices = KINDS[kind](VOCAB), chain(kind)
    reverse = jax.jit(process.reverse)
    for t in range(1, NUM_STEPS + 1):
        ends = jnp.array([(t - 1) / NUM_STEPS]), jnp.array([t / NUM_STEPS])
        until_s = np.linalg.multi_dot([np.eye(process.num_states), np.eye(process.num_states), *matrices[: t - 1]])
        joint = until_s[:VOCAB, :, None] * matrices[t - 1][None]  # [x_0, x_s, x_t]
        for x_0, x_t in itertools.product(range(VOCAB), range(process.num_states)):
            total = joint[x_0, :, x_t].sum()
            if total == 0:
                continue
            ours = reverse(np.log(np.eye(VOCAB, dtype=np.float32) + 1e-30)[[x_0]], tokens([x_t]), *ends)
            np.testing.assert_allclose(ours[0], joint[x_0, :, x_t] / total, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_categorical_reverse_with_the_exact_posterior_is_exact(kind):
    """The distribution of the data goes to t and back to s by p(x_0 | x_t), all by matrices but the way back."""
    process, data = KINDS[kind](VOCAB), np.array([0.6, 0.3, 0.1])
    product = np.linalg.multi_dot([np.eye(process.num_states), *chain(kind)[:4]])[:VOCAB]
    until_s = np.linalg.multi_dot([np.eye(process.num_states), *chain(kind)[:2]])[:VOCAB]
    states, marginal = jnp.arange(process.num_states), data @ product
    belief = jnp.asarray((data[:, None] * product / marginal).T, jnp.float32)
    s, t = (jnp.full(process.num_states, time / NUM_STEPS) for time in (2, 4))
    back = process.reverse(jnp.log(belief), states, s, t)
    np.testing.assert_allclose(marginal @ np.asarray(back), data @ until_s, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", [linear, cosine])
def test_categorical_marginal_solves_its_rate_equation(kind, schedule):
    """In continuous time: the matrix exponential of the rates, keep' / keep times (I - 1 limit)."""
    process = KINDS[kind](VOCAB, schedule)
    generator = np.ones((process.num_states, 1)) * process.limit - np.eye(process.num_states)
    for t in (0.1, 0.5, 0.9):
        lost = -np.log(float(schedule(jnp.float32(t))))
        ours = process.marginal(jnp.arange(VOCAB), jnp.full(VOCAB, t))
        np.testing.assert_allclose(ours, scipy.linalg.expm(lost * generator)[:VOCAB], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [linear, cosine])
def test_categorical_process_is_exact_at_the_ends(schedule):
    x_0, keys = tokens([[0, 1, 2]]), example_keys(jax.random.key(0), 1)
    for make in KINDS.values():
        process = make(VOCAB, schedule)
        np.testing.assert_array_equal(process.corrupt(x_0, keys, jnp.zeros(1)), x_0)
        end = process.marginal(x_0, jnp.ones(1))
        np.testing.assert_allclose(end, np.broadcast_to(process.limit, end.shape), atol=1e-7)
    assert (absorbing(VOCAB, schedule).corrupt(x_0, keys, jnp.ones(1)) == VOCAB).all(), "all mask"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_categorical_corrupt_draws_the_marginal(kind):
    process, num = KINDS[kind](VOCAB), 20_000
    x_0, t = jnp.full((4, num // 4), 1), jnp.full(4, 0.3)
    x_t = process.corrupt(x_0, example_keys(jax.random.key(0), 4), t)
    shares = np.bincount(np.asarray(x_t).ravel(), minlength=process.num_states) / num
    expected = np.asarray(process.marginal(tokens([1]), jnp.array([0.3])))[0]
    assert (np.abs(shares - expected) <= 4 * np.sqrt(expected * (1 - expected) / num)).all()
    alone = process.corrupt(x_0[2:3], example_keys(jax.random.key(0), 4)[2:3], t[2:3])
    np.testing.assert_array_equal(alone[0], x_t[2])


def test_mask_impossible_logits_fixes_unmasked_tokens():
    logits, x_t, t = jnp.zeros((1, 2, VOCAB)), tokens([[1, VOCAB]]), jnp.array([0.5])
    np.testing.assert_allclose(
        jnp.exp(absorbing(VOCAB).mask_impossible_logits(logits, x_t, t))[0], [[0, 1, 0], [1 / 3] * 3]
    )
    np.testing.assert_allclose(
        jnp.exp(uniform(VOCAB).mask_impossible_logits(logits, tokens([[1, 2]]), t)), 1 / 3, rtol=1e-6
    )


def joint_data():
    """A distribution of two tokens that hang together, and one with an impossible pair."""
    table = np.random.default_rng(0).dirichlet(np.ones(VOCAB**2)).reshape(VOCAB, VOCAB)
    table[0, 2] = 0.0
    return table / table.sum()


def exact_bounds(process, table, num_nodes=32):
    """The bound of each example with the exact denoiser: all x_t enumerated, time by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    # In the root of t: near t = 0 the rates change fast.
    root = 0.5 + 0.5 * nodes
    times = jnp.asarray(np.maximum(root**2, 1e-6), jnp.float32)
    x_t = tokens(list(itertools.product(range(process.num_states), repeat=2)))
    data, num = jnp.asarray(table, jnp.float32), len(x_t)

    def at(t, x_0):
        times, start = jnp.full(num, t), jnp.broadcast_to(x_0, (num, 2))
        likelihood = process.likelihood(x_t, times)  # [N, 2, V]
        pairs = likelihood[:, 0, :, None] * likelihood[:, 1, None, :] * data[None]
        total = pairs.sum(axis=(1, 2), keepdims=True)
        pairs = pairs / jnp.where(total > 0, total, 1.0)
        belief = jnp.stack([pairs.sum(axis=2), pairs.sum(axis=1)], axis=1)
        log_belief = jnp.log(jnp.maximum(belief, 1e-30))
        chance = jnp.take_along_axis(likelihood, start[..., None], axis=-1).prod(axis=(1, 2))
        return jnp.where(chance > 0, chance * process.bound_rate(log_belief, start, x_t, times), 0.0).sum()

    over_time = jax.vmap(at, in_axes=(0, None))
    x_0 = tokens(list(np.ndindex(table.shape)))
    rates = np.asarray(jax.jit(jax.vmap(over_time, in_axes=(None, 0)))(times, x_0), np.float64)
    return (rates @ (weights * root)).reshape(table.shape)


@pytest.mark.parametrize("schedule", [linear, cosine])
@pytest.mark.parametrize("kind", KINDS)
def test_bound_rate_of_the_exact_denoiser_is_the_nll(kind, schedule):
    table = joint_data()
    ours, is_possible = exact_bounds(KINDS[kind](VOCAB, schedule), table), table > 0
    np.testing.assert_allclose(ours[is_possible], -np.log(table[is_possible]), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_bound_rate_of_a_wrong_denoiser_is_above(kind):
    """With another distribution than the data's, the bound is the cross-entropy with that one."""
    table, process = joint_data(), KINDS[kind](VOCAB)
    flat = np.full((VOCAB, VOCAB), 1.0 / VOCAB**2)
    mixed = 0.5 * table + 0.5 * flat
    ours = (table * exact_bounds(process, mixed)).sum()
    entropy = -(table[table > 0] * np.log(table[table > 0])).sum()
    assert ours > entropy + 0.02
    assert ours == pytest.approx(-(table * np.log(mixed)).sum(), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_bound_rate_has_finite_gradients(kind):
    process, x_0 = KINDS[kind](VOCAB), tokens([[0, 1, 2]] * 3)
    x_t, t = tokens([[VOCAB, 1, 2] if kind == "absorbing" else [2, 1, 0]] * 3), jnp.array([1e-5, 0.5, 1 - 1e-5])

    def bound(logits):
        return process.bound_rate(process.mask_impossible_logits(logits, x_t, t), x_0, x_t, t).sum()

    slope = jax.jit(jax.grad(bound))(jnp.zeros((3, 3, VOCAB)))
    assert jnp.isfinite(slope).all()
    assert (jnp.abs(slope).max(axis=(1, 2)) > 0).all()


def test_draw_states_follows_the_probabilities():
    probs = jnp.broadcast_to(jnp.array([0.2, 0.0, 0.8]), (10_000, 3))
    shares = np.bincount(np.asarray(draw_states(jax.random.key(0), probs)), minlength=3) / 10_000
    assert shares[1] == 0
    assert abs(shares[0] - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 10_000)


@pytest.mark.parametrize("make", KINDS.values())
def test_categorical_process_refuses_one_value(make):
    with pytest.raises(UsageError, match="at least 2"):
        make(1)
