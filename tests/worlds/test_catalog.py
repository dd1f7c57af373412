"""Contract of every world by name: its samples are valid, other images are not."""

import jax
import numpy as np
import pytest
from scipy import stats

from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError
from aigc_jax.worlds.catalog import FACTS, WORLDS, open_world
from tests.worlds.opened import NUM, fast_jit, opened

POINTS = {"ring8": 2, "grid25": 2, "aithal25": 2, "unequal8": 2, "rotated8": 2, "line3": 1, "line4": 1, "mixture16": 16}
IMAGES = {
    "shapes": (64, 64, 1),
    "dots": (32, 32, 1),
    "even": (32, 32, 1),
    "parity": (32, 32, 1),
    "sums": (28, 28, 1),
    "sudoku": (32, 32, 1),
    "factors": (32, 32, 3),
}
TEXTS = {"reviews": (97,), "facts": (6,), "families": (6,), "grammar": (33,)}


def test_worlds_are_all_in_a_table():
    assert set(WORLDS) == set(POINTS) | set(IMAGES) | set(TEXTS) == set(FACTS)


@pytest.mark.parametrize("name", WORLDS)
def test_facts_are_those_of_the_world(name):
    num_modes, modality, shape, _ = FACTS[name]
    world = opened(name).world
    assert (num_modes, modality) == (world.num_modes, world.modality)
    assert modality == ("point" if name in POINTS else "tokens" if name in TEXTS else "image")
    assert shape == jax.eval_shape(lambda: world.sample(jax.random.key(0), 1, None)).shape[1:]


@pytest.mark.one_case
@pytest.mark.parametrize("name", WORLDS)
def test_world_samples_are_valid_with_modes_by_weight(name):
    world, free, asked = opened(name).world, *opened(name).examples()
    assert world.name == f"world:{name}"
    assert free.dtype == asked.dtype == (np.int32 if name in TEXTS else np.float32)
    assert free.shape == asked.shape == (NUM, *{**IMAGES, **TEXTS}.get(name, (POINTS.get(name),)))
    names, modes = opened(name).judged(np.asarray(free))
    assert set(names) == {"valid"} == {world.violation_names[0]}
    counts, weights = np.bincount(modes, minlength=world.num_modes), np.asarray(world.mode_weights)
    assert weights.sum() == pytest.approx(1.0)
    assert tuple(np.flatnonzero(weights == 0)) == tuple(world.withheld)
    assert set(counts[list(world.withheld)]) <= {0}
    if world.num_modes > 1:
        assert stats.chisquare(counts[weights > 0], NUM * weights[weights > 0]).pvalue > 1e-3


@pytest.mark.one_case
@pytest.mark.parametrize("name", WORLDS)
def test_world_samples_of_a_condition_are_valid_and_of_that_mode(name):
    names, modes = opened(name).judged(np.asarray(opened(name).examples()[1]))
    assert set(names) == {"valid"}
    np.testing.assert_array_equal(modes, opened(name).conditions())


@pytest.mark.one_case
@pytest.mark.parametrize("name", WORLDS)
def test_world_sample_depends_only_on_its_own_key(name):
    free, asked = (np.asarray(examples) for examples in opened(name).examples())
    keys = example_keys(jax.random.key(0), NUM)
    is_kept = np.arange(NUM) % 3 == 0
    others, others_asked = opened(name).sample(keys.at[~is_kept].set(example_keys(jax.random.key(1), NUM)[~is_kept]))
    np.testing.assert_array_equal(np.asarray(others)[is_kept], free[is_kept])
    np.testing.assert_array_equal(np.asarray(others_asked)[is_kept], asked[is_kept])
    assert np.mean(np.any(np.asarray(others_asked) != asked, axis=tuple(range(1, asked.ndim)))[~is_kept]) > 0.9
    # Without condition, nor on its place.
    np.testing.assert_array_equal(opened(name).sample(keys[::-1])[0][::-1], free)


@pytest.mark.one_case
@pytest.mark.parametrize("name", IMAGES)
def test_world_violation_catches_noise_grey_and_nan(name):
    image = np.asarray(opened(name).examples()[0][0])
    assert set(np.unique(image)) == {-1.0, 1.0}
    noise = np.random.default_rng(0).normal(size=image.shape)
    some = np.arange(image.size).reshape(image.shape) % 7 == 0
    planted = [noise, 0 * image, 0 * image + 1, 0 * image - 0.3, np.nan * image, 0.4 * image, -image]
    planted += [np.where(some, np.nan, image), np.where(some, 0.1 * image, image), 0 * image - 1, image, 0.8 * image]
    assert opened(name).names(planted) == ["malformed"] * 9 + ["blank", "valid", "valid"]


@pytest.mark.parametrize("name", ["ring8", "grid25", "aithal25", "rotated8", "mixture16"])
def test_world_of_points_has_unit_variance(name):
    np.testing.assert_allclose(opened(name).examples()[0].var(axis=0), 1.0, atol=0.25)


@pytest.mark.parametrize("name", POINTS)
def test_world_log_prob_is_higher_at_examples_than_near_them(name):
    log_prob, x = fast_jit(opened(name).world.log_prob), opened(name).examples()[0]
    assert log_prob(x).mean() > log_prob(x + 0.3).mean() + 1


def test_open_world_lists_the_names_for_an_unknown_one():
    for name in ("digits", "world:", "world:mars"):
        with pytest.raises(UsageError, match=r"world:ring8, world:grid25, .*world:grammar; got"):
            open_world(name)
