"""Predictions: round trips through the canonical pair at every time, and the papers' formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.processes import gaussian
from aigc_jax.processes.prediction import KINDS, Pair, from_pair, precondition, predict, to_pair
from aigc_jax.types import UsageError

from .test_gaussian import PROCESSES, exact, times_of

SHAPE = (3, 2)
EVERY = list(itertools.product(PROCESSES, KINDS))


def draw(seed, num):
    """Numbers of order one, none of them near 0."""
    sign, size = np.random.default_rng(seed).choice([-1, 1], (num, *SHAPE)), np.random.default_rng(seed + 9)
    return jnp.asarray(np.float32(sign * size.uniform(0.5, 1.5, (num, *SHAPE))))


def times(process):
    return jnp.asarray(times_of(process, 11))


@pytest.mark.one_case
@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_to_pair_inverts_from_pair_at_every_time(name, kind):
    """A quantity that belongs to x_t survives the way through the canonical pair, the ends included."""
    process = PROCESSES[name]
    t = times(process)
    pair = Pair(draw(0, len(t)), draw(1, len(t)))
    x_t, value = process.corrupt(*pair, t), from_pair(process, kind, pair, t)
    again = from_pair(process, kind, to_pair(process, kind, value, x_t, t), t)
    assert jnp.isfinite(value).all()
    # In units of the largest number that goes in: velocity and score are as large as 1 / sigma.
    scale = jnp.maximum(jnp.abs(value).max(axis=(1, 2)), 1.0)[:, None, None]
    np.testing.assert_allclose(again / scale, value / scale, rtol=0, atol=1e-5)


@pytest.mark.one_case
@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_to_pair_finds_the_pair_of_every_kind(name, kind):
    """In the middle of the range, where x_t and the quantity determine both."""
    process = PROCESSES[name]
    t = process.time_at(jnp.asarray(np.float32([0.05, 0.3, 1.0, 3.0, 20.0])))
    pair = Pair(draw(2, len(t)), draw(3, len(t)))
    x_t = process.corrupt(*pair, t)
    found = to_pair(process, kind, from_pair(process, kind, pair, t), x_t, t)
    for got, expected in zip(found, pair, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.one_case
@pytest.mark.parametrize("name", PROCESSES)
def test_to_pair_is_exact_at_the_ends(name):
    """Without noise x_t is x_0, without signal it is epsilon, whichever other quantity is given."""
    process = PROCESSES[name]
    ends = jnp.asarray(np.float32([process.t_min, process.t_max]))
    pair = Pair(draw(4, 2), draw(5, 2))
    x_t = process.corrupt(*pair, ends)
    for kind in ("x_0", "epsilon", "v", "velocity"):
        found = to_pair(process, kind, from_pair(process, kind, pair, ends), x_t, ends)
        assert jnp.isfinite(found.x_0).all()
        assert jnp.isfinite(found.epsilon).all()
        if kind != "x_0":
            np.testing.assert_allclose(found.x_0[0], pair.x_0[0], atol=2e-2 if process.sigma(ends[0]) > 0 else 1e-5)
        if kind != "velocity" or process.sigma(ends[0]) > 0:
            np.testing.assert_allclose(found.epsilon[1], pair.epsilon[1], rtol=1e-4)


@pytest.mark.one_case
@pytest.mark.parametrize("name", PROCESSES)
def test_from_pair_matches_the_papers(name):
    """v is the slope of x along the angle; the score of q(x_t | x_0) by autodiff; velocity is the slope in t."""
    process = PROCESSES[name]
    x_0, epsilon = 0.7, -1.3
    for ratio in (0.1, 1.0, 10.0):
        t = process.time_at(jnp.float32(ratio))
        pair, batch_t = Pair(jnp.full((1, 1), x_0), jnp.full((1, 1), epsilon)), t[None]
        alpha, sigma = exact(name, t)
        x_t = alpha * x_0 + sigma * epsilon
        score = jax.grad(jax.scipy.stats.norm.logpdf)(x_t, alpha * x_0, sigma)
        np.testing.assert_allclose(from_pair(process, "score", pair, batch_t)[0, 0], score, rtol=1e-4)
        step = 1e-5
        above, below = exact(name, float(t) + step), exact(name, float(t) - step)
        slope = ((above[0] - below[0]) * x_0 + (above[1] - below[1]) * epsilon) / (2 * step)
        np.testing.assert_allclose(from_pair(process, "velocity", pair, batch_t)[0, 0], slope, rtol=1e-4, atol=1e-5)
        angle = np.arctan2(sigma, alpha)
        turned = [
            np.hypot(alpha, sigma) * (np.cos(a) * x_0 + np.sin(a) * epsilon) for a in (angle - 1e-6, angle + 1e-6)
        ]
        np.testing.assert_allclose(
            from_pair(process, "v", pair, batch_t)[0, 0], (turned[1] - turned[0]) / 2e-6, rtol=1e-4
        )


@pytest.mark.one_case
@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_parameterization_target_gives_the_example(name, kind):
    process, way = PROCESSES[name], predict(PROCESSES[name], kind)
    t = process.time_at(jnp.asarray(np.float32([0.05, 1.0, 20.0])))
    pair = Pair(draw(6, 3), draw(7, 3))
    x_t, output = process.corrupt(*pair, t), way.target(pair, t)
    np.testing.assert_allclose(way.to_x_0(output, x_t, t), pair.x_0, atol=5e-5)
    moved = way.to_x_0(output + 1.0, x_t, t) - way.to_x_0(output, x_t, t)
    np.testing.assert_allclose(moved, jnp.broadcast_to(way.x_0_per_output(t)[:, None, None], moved.shape), rtol=1e-2)
    assert jnp.isfinite(way.noise_label(times(process))).all()


@pytest.mark.parametrize("name", [name for name in PROCESSES if name != "rectified_flow"])
def test_precondition_has_unit_variance_in_and_out(name):
    """For data of variance sigma_data^2: the variance of a linear function of x_0 and epsilon, read off its factors."""
    process, sigma_data = PROCESSES[name], 0.7
    way, t = precondition(process, sigma_data), times(process)
    one, none = jnp.ones((len(t), 1)), jnp.zeros((len(t), 1))
    for function in (lambda pair: way.scale_input(process.corrupt(*pair, t), t), lambda pair: way.target(pair, t)):
        of_x_0, of_epsilon = function(Pair(one, none)), function(Pair(none, one))
        np.testing.assert_allclose(sigma_data**2 * of_x_0**2 + of_epsilon**2, one, rtol=1e-4)
    pair = Pair(draw(8, len(t)), draw(9, len(t)))
    x_0 = way.to_x_0(way.target(pair, t), process.corrupt(*pair, t), t)
    # x_t / alpha holds x_0 with the digits that the noise leaves.
    digits = 1e-6 * jnp.maximum(process.noise_ratio(t), 1.0)[:, None, None]
    assert (jnp.abs(x_0 - pair.x_0) < 1e-5 + digits).all()
    assert jnp.isfinite(way.noise_label(t)).all()


def test_parameterizations_refuse_impossible_settings():
    flow, one, t = PROCESSES["rectified_flow"], jnp.ones((1, 1)), jnp.ones(1)
    for call in (
        lambda: to_pair(flow, "noise", one, one, t),
        lambda: from_pair(flow, "noise", Pair(one, one), t),
        lambda: predict(flow, "noise"),
    ):
        with pytest.raises(UsageError, match="epsilon"):
            call()
    with pytest.raises(UsageError, match="sigma_data"):
        precondition(gaussian.edm(), 0.0)
    with pytest.raises(UsageError, match="signal"):
        precondition(flow)
