"""The change of samples per unit of their latents: exact, of each sample's own key, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.images import IMAGE
from aigc_jax.inference.perturbation import make_change_fn
from aigc_jax.inference.sampling import sample_key
from aigc_jax.rng import example_keys, normal, split_by_name
from aigc_jax.types import Algorithm, Conditions, Experiment, Latents, UsageError

MATRIX = jax.random.normal(jax.random.key(7), (3, 8))


def experiment(generate, num_classes=None):
    def latent(keys, num):
        return normal(keys, (3,))

    conditions = None if num_classes is None else Conditions([str(i) for i in range(num_classes)])
    algorithm = Algorithm(init=None, step=None, latents=generate and Latents(latent, generate))
    return Experiment(algorithm, None, {"example": jax.ShapeDtypeStruct((1, 2, 4, 1), jnp.float32)}, IMAGE, conditions)


def directions(num, seed=0):
    keys = split_by_name(example_keys(sample_key(seed), num), "direction")["direction"]
    u = np.asarray(normal(keys, (3,)))
    return u / np.linalg.norm(u, axis=1, keepdims=True)


@pytest.mark.slow
def test_a_linear_generator_changes_by_its_matrix():
    traces = []

    def generate(variables, latents, keys, condition):
        traces.append(1)
        return (latents @ variables["matrix"]).reshape(-1, 2, 4, 1)

    changes = make_change_fn(experiment(generate), {"matrix": MATRIX}, 0)
    found = changes(150)
    np.testing.assert_allclose(found.reshape(150, -1), directions(150) @ np.asarray(MATRIX), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(changes(70), found[:70])
    assert len(traces) == 1


def test_conditions_are_taken_in_turn():
    def generate(variables, latents, keys, condition):
        return (1.0 + condition.astype(jnp.float32))[:, None] * latents

    sizes = np.linalg.norm(make_change_fn(experiment(generate, 3), {}, 0)(9), axis=1)
    np.testing.assert_allclose(sizes, 1 + np.arange(9) % 3, rtol=1e-5)


def test_a_model_without_latents_is_refused():
    with pytest.raises(UsageError, match="single latent"):
        make_change_fn(experiment(None), {}, 0)
