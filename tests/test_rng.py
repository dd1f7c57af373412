"""The key policy: draws depend on names and indices, not on order, number or device."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aigc_jax.rng import example_keys, normal, split_by_name, step_key
from aigc_jax.types import UsageError


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def test_example_keys_depend_only_on_the_index():
    key = jax.random.key(0)
    many = data(example_keys(key, 16))
    np.testing.assert_array_equal(data(example_keys(key, 5)), many[:5])
    np.testing.assert_array_equal(data(example_keys(key, jnp.array([7, 3]))), many[[7, 3]])
    assert len({tuple(row) for row in many}) == 16


def test_example_keys_keeps_key_arrays():
    keys = jax.random.split(jax.random.key(1), 4)
    np.testing.assert_array_equal(data(example_keys(keys, 4)), data(keys))


def test_step_key_differs_by_step_and_takes_traced_steps():
    root = jax.random.key(0)
    keys = [data(step_key(root, t)) for t in range(8)]
    assert len({tuple(key) for key in keys}) == 8
    np.testing.assert_array_equal(data(jax.jit(step_key)(root, jnp.int32(5))), keys[5])


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.split(jax.random.key(0), 3)], ids=["one", "many"])
def test_split_by_name_does_not_depend_on_other_names(key):
    together = split_by_name(key, "b", "a", "c")
    assert list(together) == ["b", "a", "c"]
    for name in together:
        assert together[name].shape == key.shape
        np.testing.assert_array_equal(data(together[name]), data(split_by_name(key, name)[name]))
    assert len({data(k).tobytes() for k in [*together.values(), key]}) == 4


def test_split_by_name_is_equal_in_every_process():
    code = (
        "import jax; from aigc_jax.rng import split_by_name; "
        "print(jax.random.key_data(split_by_name(jax.random.key(0), 'latent')['latent']).tolist())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.strip() == str(data(split_by_name(jax.random.key(0), "latent")["latent"]).tolist())


def test_normal_draws_are_standard_and_independent():
    keys = example_keys(jax.random.key(0), 2000)
    draws = np.asarray(normal(keys, (5,)))
    assert draws.shape == (2000, 5)
    assert stats.kstest(draws.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(draws.T) - np.eye(5)).max() < 0.1
    np.testing.assert_array_equal(draws[[3, 1]], normal(keys[jnp.array([3, 1])], (5,)))


def test_as_key_converts_raw_keys():
    raw, typed = jax.random.PRNGKey(5), jax.random.key(5)
    assert data(example_keys(raw, 3)).tolist() == data(example_keys(typed, 3)).tolist()
    assert data(example_keys(jax.random.split(raw, 3), 3)).tolist() == data(jax.random.split(typed, 3)).tolist()
    assert (
        data(split_by_name(raw, "latent")["latent"]).tolist() == data(split_by_name(typed, "latent")["latent"]).tolist()
    )
    assert data(step_key(raw, 2)).tolist() == data(step_key(typed, 2)).tolist()


@pytest.mark.parametrize("key", [0, jnp.zeros(2), "key"])
def test_as_key_refuses_other_arrays(key):
    with pytest.raises(UsageError, match=r"jax\.random\.key"):
        example_keys(key, 3)
