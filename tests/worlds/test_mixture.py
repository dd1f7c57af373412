"""Mixtures of Gaussians: the density against scipy, and every planted violation is caught."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aigc_jax.types import UsageError
from aigc_jax.worlds.catalog import WORLDS, open_world
from aigc_jax.worlds.mixture import gaussian_mixture, grid, ring

KEY = jax.random.key(0)
MEANS = np.array([[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
UNEQUAL = gaussian_mixture("unequal", MEANS, 0.2, weights=[0.8, 0.2])


@pytest.mark.parametrize("world", [open_world(f"world:{name}") for name in WORLDS] + [UNEQUAL], ids=lambda w: w.name)
def test_its_own_samples_are_valid_and_of_modes_by_weight(world):
    x = world.sample(KEY, 4000, None)
    assert bool(jnp.all(world.is_valid(x)))
    counts = np.bincount(world.mode(x), minlength=world.num_modes)
    assert stats.chisquare(counts, 4000 * np.asarray(world.mode_weights)).pvalue > 1e-3


def test_the_density_is_scipys():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    densities = [stats.multivariate_normal(mean, 0.2**2 * np.eye(3)).logpdf(x) for mean in MEANS]
    expected = np.logaddexp(densities[0] + np.log(0.8), densities[1] + np.log(0.2))
    np.testing.assert_allclose(UNEQUAL.log_prob(jnp.asarray(x)), expected, rtol=1e-4)


def test_examples_of_a_condition_are_of_that_mode_and_of_its_size():
    world, condition = ring(), jnp.arange(4000) % 8
    x = world.sample(KEY, 4000, condition)
    np.testing.assert_array_equal(world.mode(x), condition)
    angle = 2 * np.pi * np.asarray(condition) / 8
    rest = np.asarray(x) - 2**0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert stats.kstest(rest.ravel(), stats.norm(0, 0.05).cdf).pvalue > 1e-3


def test_an_example_depends_on_its_own_key():
    few, many = (ring().sample(KEY, num, None) for num in (5, 9))
    np.testing.assert_array_equal(few, many[:5])
    keys = jax.random.split(KEY, 3)
    np.testing.assert_array_equal(ring().sample(keys[1:], 2, None), ring().sample(keys, 3, None)[1:])


@pytest.mark.parametrize("name", WORLDS)
def test_data_have_unit_variance(name):
    np.testing.assert_allclose(open_world(f"world:{name}").sample(KEY, 4000, None).var(axis=0), 1.0, atol=0.06)


def test_planted_violations_are_caught_by_name():
    step = 0.5**0.5
    points = {
        (0.0, 0.0): "valid",
        (0.2, -0.1): "valid",
        (0.5 * step, 0.0): "between modes",
        (-1.5 * step, 2 * step + 0.2): "between modes",
        (0.5 * step, 0.5 * step): "elsewhere",  # the middle of a square: its diagonals join no neighbours
        (2.5 * step, 0.0): "elsewhere",
        (100.0, 100.0): "elsewhere",
    }
    world = grid()
    found = [world.violation_names[index] for index in world.violation(jnp.asarray(list(points), jnp.float32))]
    assert found == list(points.values())


def test_only_neighbours_on_a_ring_have_a_between():
    world = ring()
    between = world.sample(KEY, 8, jnp.arange(8)) * np.cos(np.pi / 8)
    turn = np.array([[np.cos(np.pi / 8), -np.sin(np.pi / 8)], [np.sin(np.pi / 8), np.cos(np.pi / 8)]], np.float32)
    assert set(world.violation(between @ turn).tolist()) == {1}
    assert world.violation(jnp.zeros((1, 2))).tolist() == [2]


def test_impossible_mixtures_and_unknown_names_are_refused():
    with pytest.raises(UsageError, match="scale > 0"):
        gaussian_mixture("x", MEANS, 0.0)
    for weights in ([1.0], [0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(UsageError, match="2 weights"):
            gaussian_mixture("x", MEANS, 0.1, weights=weights)
    for name in ("digits", "world:", "world:mars"):
        with pytest.raises(UsageError, match=r"world:ring8, world:grid25; got"):
            open_world(name)
