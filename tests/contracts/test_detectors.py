"""Detector scores depend on (variables, sample, its condition, its key) alone; observed draws equal samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.guards.trajectory import trajectory_observer
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

from .table import GENERATIVE, NUM_CLASSES, ROWS, batch_at, built, plain_run
from .test_sample import condition, draw


@functools.cache
def tracer(name):
    """Samples with the scores of their trajectories, compiled once."""
    denoising = plain_run(name).algorithm.denoising
    observer = trajectory_observer(denoising.num_steps)

    def trace(variables, keys, condition):
        return denoising.draw(denoising.denoiser(variables), keys, condition, observer=observer)

    return jax.jit(trace)


WITHOUT_TRACE = {
    "gan-": "one step",
    "vae-": "one step",
    "iwae-": "one step",
    "vqvae": "one step",
    "hvae": "one step, level by level",
    "consistency-": "its steps jump to the data: they are not one path",
    "autoregressive": "its steps add tokens",
    "preference": "its steps add tokens",
    "discrete-": "tokens have no mean that could move",
    "classifier": "draws no samples",
    "classifier-attributes": "draws no samples",
}

TRACES = [name for name in ROWS if not name.startswith(tuple(WITHOUT_TRACE))]


def detectors_of(name):
    """Of one detector at several noise levels the first stands for all."""
    return {found: detector for found, detector in built(name).detectors.items() if "renoise_" not in found}


@pytest.mark.parametrize("name", ROWS)
def test_algorithm_has_detectors_and_observable_denoising(name):
    assert bool(detectors_of(name)) == (name in GENERATIVE)
    denoising = built(name).denoising
    assert (denoising is not None and denoising.num_steps > 1) == (name in TRACES)


@pytest.mark.parametrize("name", GENERATIVE)
def test_detector_score_is_finite_and_depends_only_on_its_sample_and_key(name):
    for found, detector in detectors_of(name).items():
        check_score(name, jax.jit(detector.score), may_tie=found in COUNTS)


COUNTS = ("semantic_entropy", "self_consistency")
"""Scores that count draws, of which two samples may have as many."""


def check_score(name, score, *, may_tie=False):
    variables = plain_run(name).states[2].variables
    images, keys = batch_at(ROWS[name], 5)["example"][:6], example_keys(jax.random.key(2), 6)
    found = score(variables, images, condition(name, 6), keys)
    assert (found.shape, found.dtype) == ((6,), jnp.float32)
    assert jnp.all(jnp.isfinite(found))
    assert may_tie or len(np.unique(found)) == 6
    # The same samples with their keys and conditions, but among others in another order, and other ones behind.
    turn = np.array([3, 0, 1, 2, 4, 5])
    conditions = condition(name, 6)
    turned = score(
        variables,
        images[turn].at[4:].set(images[0]),
        None if conditions is None else conditions[turn],
        keys[turn].at[4:].set(example_keys(jax.random.key(9), 2)),
    )
    np.testing.assert_allclose(turned[:4], found[turn[:4]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in GENERATIVE if ROWS[name].num_classes])
def test_detector_score_needs_no_condition(name):
    """What is said then, tests/algorithms/test_detecting.py looks at."""
    images, keys = batch_at(ROWS[name], 5)["example"][:6], example_keys(jax.random.key(2), 6)
    variables = plain_run(name).states[2].variables
    for detector in detectors_of(name).values():
        score = functools.partial(detector.score, variables, images)
        assert jax.eval_shape(lambda keys, score=score: score(None, keys), keys).shape == (6,)


@pytest.mark.parametrize("name", TRACES)
def test_observed_draw_equals_sample_bit_for_bit(name):
    trace, variables = tracer(name), plain_run(name).states[2].variables
    keys = example_keys(jax.random.key(3), 8)
    samples, found = trace(variables, keys, condition(name, 8))
    np.testing.assert_array_equal(samples, draw(name, 8, keys))
    assert "trajectory_variance" in found
    turned, others = trace(variables, jnp.roll(keys, NUM_CLASSES), condition(name, 8))
    np.testing.assert_allclose(turned[NUM_CLASSES:], samples[:-NUM_CLASSES], atol=1e-6)
    for detector, score in found.items():
        assert (score.shape, score.dtype) == ((8,), jnp.float32)
        assert jnp.all(score > 0)
        assert jnp.all(jnp.isfinite(score))
        np.testing.assert_allclose(others[detector][NUM_CLASSES:], score[:-NUM_CLASSES], rtol=1e-3)


@pytest.mark.parametrize("name", TRACES)
def test_observed_draw_refuses_a_wrong_condition_in_one_line(name):
    wrong = None if ROWS[name].num_classes else jnp.zeros(4, jnp.int32)
    with pytest.raises(UsageError) as caught:
        tracer(name)(plain_run(name).states[2].variables, jax.random.split(jax.random.key(0), 4), wrong)
    assert "\n" not in str(caught.value)
