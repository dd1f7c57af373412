"""Determinism, drift and sensitivity against numpy's own steps, simulations and linear maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.metrics.stability import determinism, drift, sensitivity, unit_change
from aigc_jax.types import UsageError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_steps_are_numpys(dtype):
    a = np.array([[0.1, -2.0], [1.0, 0.0], [3.0, 4.0]], dtype)
    b = a.copy()
    for _ in range(5):
        b[1, 0] = np.nextafter(b[1, 0], dtype(2))
    b[0, 1] = np.nextafter(b[0, 1], dtype(0))
    assert determinism(a, b) == (False, 2, 3, 5)
    assert determinism(a, a) == (True, 0, 3, 0)


def test_zero_has_two_names_and_steps_cross_it():
    smallest = np.float32(np.nextafter(np.float32(0), np.float32(1)))
    assert determinism(np.array([0.0], np.float32), np.array([-0.0], np.float32)) == (False, 1, 1, 0)
    assert determinism(np.array([smallest]), np.array([-smallest])).max_ulp == 2
    huge = np.array([np.finfo(np.float64).max])
    assert determinism(huge, -huge).max_ulp == 2 * int(huge.view(np.int64)[0])


def test_other_types():
    half = np.asarray(jnp.array([1.0, 2.0], jnp.bfloat16))
    assert determinism(half, half + half).max_ulp == 128
    assert determinism(np.array([1, 2]), np.array([1, 3])) == (False, 1, 2, None)
    with pytest.raises(UsageError, match="float32"):
        determinism(np.zeros(2, np.float32), np.zeros(2))
    with pytest.raises(UsageError, match="none"):
        determinism(np.zeros((0, 3)), np.zeros((0, 3)))


def test_drift_by_hand():
    before, after = np.array([600, 300, 100, 0]), np.array([300, 300, 400, 0])
    expected = (0.3 - 0.6) * np.log(0.3 / 0.6) + (0.4 - 0.1) * np.log(0.4 / 0.1)
    assert drift(before, after).psi == pytest.approx(expected, rel=0.01)
    assert drift(after, before).psi == pytest.approx(drift(before, after).psi)
    assert drift(before, before).psi == 0
    assert np.isfinite(drift(before, np.array([600, 300, 0, 100])).psi)


@pytest.mark.parametrize("sizes", [(200, 200), (1000, 300)])
def test_limit_is_exceeded_5_times_in_100_where_nothing_moved(sizes):
    rng, law = np.random.default_rng(0), np.array([0.4, 0.3, 0.2, 0.1])
    results = [drift(*(rng.multinomial(n, law) for n in sizes)) for _ in range(1000)]
    assert 0.03 <= np.mean([result.psi > result.limit for result in results]) <= 0.07
    moved = drift(rng.multinomial(200, law), rng.multinomial(200, law[::-1]))
    assert moved.psi > moved.limit
    assert (moved.n_before, moved.n_after) == (200, 200)


def test_drift_of_nothing_is_refused():
    with pytest.raises(UsageError, match="both sides"):
        drift(np.array([0, 0]), np.array([1, 2]))


def test_a_linear_map_has_its_own_gain():
    rng = np.random.default_rng(1)
    matrix, delta = np.diag([1.0, 1.0, 5.0]), rng.normal(size=(500, 3))
    z = rng.normal(size=(500, 3))
    result = sensitivity(z @ matrix, (z + delta) @ matrix, delta)
    ratio = np.linalg.norm(delta @ matrix, axis=1) / np.linalg.norm(delta, axis=1)
    assert result.median == pytest.approx(np.median(ratio))
    assert result.quantile_95 == pytest.approx(np.quantile(ratio, 0.95))
    assert result.largest == pytest.approx(ratio.max())
    assert result.largest <= 5
    assert result.low < result.median < result.high
    assert result.n == 500


def test_change_relative_to_the_output():
    a = np.random.default_rng(2).normal(size=(10, 4, 4, 1)).astype(np.float32)
    assert sensitivity(a, 1.01 * a, a, num_resamples=20).median == pytest.approx(0.01, rel=1e-4)


def test_references_of_no_size_are_refused():
    a = np.ones((3, 2))
    with pytest.raises(UsageError, match="2 of 3"):
        sensitivity(a, a, np.array([0.0, 1.0, 0.0]))
    with pytest.raises(UsageError, match="as many"):
        sensitivity(a, a, np.ones(2))


def test_unit_change_of_a_linear_map_is_its_matrix_times_the_unit_vector():
    rng = np.random.default_rng(3)
    matrix, directions = rng.normal(size=(5, 12)), rng.normal(size=(40, 5))
    z = jnp.asarray(rng.normal(size=(40, 5)), jnp.float32)
    changes = unit_change(
        lambda z: (z @ jnp.asarray(matrix, jnp.float32)).reshape(-1, 2, 2, 3), z, jnp.asarray(directions, jnp.float32)
    )
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    expected = np.linalg.norm(units @ matrix, axis=1)
    found = sensitivity(np.zeros((40, 2, 2, 3)), np.asarray(changes), np.ones((40, 1)), num_resamples=20)
    assert found.median == pytest.approx(np.median(expected), rel=1e-5)
    assert found.largest == pytest.approx(expected.max(), rel=1e-5)
    assert found.largest <= np.linalg.norm(matrix, 2)


def test_unit_change_is_the_limit_of_differences():
    keys = jax.random.split(jax.random.key(0), 4)
    first, last, z, u = (jax.random.normal(key, (6, 6)) for key in keys)
    changes = unit_change(lambda z: jnp.tanh(jnp.sin(z @ first) @ last), z, u)
    assert not np.allclose(jnp.linalg.norm(u, axis=1), 1.0)
    step = 1e-3 * u / jnp.linalg.norm(u, axis=1, keepdims=True)
    moved = [jnp.tanh(jnp.sin((z + sign * step) @ first) @ last) for sign in (1, -1)]
    np.testing.assert_allclose(changes, (moved[0] - moved[1]) / 2e-3, atol=2e-3)
