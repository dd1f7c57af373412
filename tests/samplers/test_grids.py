"""Time grids: ends, monotonicity, and the published values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.processes.gaussian import edm
from aigc_jax.samplers import grids
from aigc_jax.types import UsageError
from tests.oracles import orders

GRIDS = {"uniform": grids.uniform(), "karras": grids.karras(), "logsnr": grids.logsnr()}
END = {"edm": 0.0}


@pytest.mark.checked
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", [name for name in orders.PROCESSES if name != orders.ENDS])
def test_grids_fall_from_noise_to_data(grid, name):
    process = orders.PROCESSES[name]
    for num_steps in (1, 18, 1000) if name == "rectified_flow" else (18,):
        times = GRIDS[grid](process, num_steps)
        assert times.shape == (num_steps + 1,)
        assert times[0] == np.float32(process.t_max)
        assert times[-1] == END.get(name, 0.0)
        assert (jnp.diff(times) < 0).all()
        assert (jnp.diff(process.noise_ratio(times)) < 0).all()


def test_karras_grid_matches_the_paper():
    """The 18 steps of EDM on CIFAR-10; the Restart paper names four of its levels: 40.79, 19.35, 1.92 and 1.09."""
    times = np.asarray(grids.karras()(edm(), 18))
    assert [round(float(times[i]), 2) for i in (2, 4, 9, 10)] == [40.79, 19.35, 1.92, 1.09]
    np.testing.assert_allclose(times[[0, -2, -1]], [80, 0.002, 0], rtol=1e-5)


def test_grids_are_even_in_their_own_clock():
    process = orders.PROCESSES["variance_preserving"]
    ratio = {name: np.asarray(process.noise_ratio(grid(process, 21)), np.float64) for name, grid in GRIDS.items()}
    # The float32 noise ratio of the last points has few digits beyond the process's clock.
    np.testing.assert_allclose(
        np.diff(np.log(ratio["logsnr"][:-1])), np.log(0.002 / ratio["logsnr"][0]) / 20, rtol=2e-3
    )
    np.testing.assert_allclose(
        np.diff(ratio["karras"][:-1] ** (1 / 7)), (0.002 ** (1 / 7) - ratio["karras"][0] ** (1 / 7)) / 20, rtol=2e-3
    )
    np.testing.assert_allclose(np.diff(GRIDS["uniform"](process, 10)), -0.1, rtol=1e-5)


def test_grids_clip_infinite_noise_levels_and_keep_exact_ends():
    flow = orders.PROCESSES["rectified_flow"]
    times = grids.karras(sigma_min=0.01, sigma_max=50.0)(flow, 10)
    assert times[0] == 1.0
    assert times[-1] == 0.0
    np.testing.assert_allclose(flow.noise_ratio(times[-2]), 0.01, rtol=1e-5)
    assert flow.noise_ratio(times[1]) < 50.0


def test_grids_are_evaluated_under_jit():
    times = jax.jit(lambda: grids.karras()(edm(), 3))()
    assert times.shape == (4,)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: grids.uniform()(edm(), 0), "num_steps"),
        (lambda: grids.karras(rho=0.0), "rho"),
        (lambda: grids.karras(sigma_min=2.0, sigma_max=1.0), "sigma_min"),
        (lambda: grids.logsnr(sigma_min=0.0), "sigma_min"),
        (lambda: grids.uniform()(edm()._replace(t_min=80.0), 10), "float32"),
    ],
)
def test_grids_refuse_impossible_settings_in_one_line(make, word):
    with pytest.raises(UsageError, match=word) as error:
        make()
    assert "\n" not in str(error.value)
