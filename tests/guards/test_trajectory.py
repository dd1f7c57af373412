"""Trajectory variance against stored predictions, and samples that an observer does not change.

Compiled with all optimisations, other than the tests of the samplers: it is these that round differently.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.guards.trajectory import WINDOW, combine_observers, trajectory_variance
from aigc_jax.nets.mlp import MLPDenoiser
from aigc_jax.processes.gaussian import edm, rectified_flow, variance_preserving
from aigc_jax.processes.prediction import precondition, predict
from aigc_jax.samplers.sampling import Sampling, make_sampler
from aigc_jax.samplers.settings import SamplerName
from aigc_jax.samplers.solver import Observer
from aigc_jax.types import UsageError

FLOW, EDM, PRESERVING = rectified_flow(), edm(), variance_preserving()
DENOISERS = {
    "flow": Denoiser(MLPDenoiser((16,)), FLOW, predict(FLOW, "velocity"), (3,), bounds=None, num_levels=None),
    "edm": Denoiser(MLPDenoiser((16,)), EDM, precondition(EDM), (3,), bounds=None, num_levels=None),
    "vp": Denoiser(MLPDenoiser((16,)), PRESERVING, predict(PRESERVING, "epsilon"), (3,), bounds=None, num_levels=None),
}
SAMPLERS = [name for name in SamplerName.__args__ if name != "restart"]
OPTIONS = {"heun": {"churn": 2.0}, "ddim": {"eta": 0.5}}

EVERYTHING = Observer(
    lambda x, times: jnp.zeros((times.shape[0] - 1, *x.shape)),
    lambda seen, x_0, interval: seen.at[interval.number].set(x_0),
    lambda seen: seen,
)


@functools.cache
def network(name):
    """A denoiser whose last layer is not zero."""
    denoiser = DENOISERS[name]
    params = denoiser.init(jax.random.key(0), {"example": jnp.zeros((1, 3))})
    params = jax.tree.map(lambda p: p + 0.2 * jax.random.normal(jax.random.key(1), p.shape), params)
    return denoiser.denoise_fn({"params": {"denoiser": params}})


def sampler_of(process, name, num_steps):
    grid = "karras" if process == "edm" else "uniform"
    sampling = Sampling(name, num_steps, grid, **OPTIONS.get(name, {}))
    return make_sampler(DENOISERS[process].process, sampling, is_consistency=name == "multistep")


def keys_of(num, seed=0):
    return jax.random.split(jax.random.key(seed), num)


# The straight path, whose prediction is a product and a sum, is where a compiler left to itself rounds differently.
FAST = ("euler", "midpoint", "heun", "ancestral")
MARKS = {name: [] if name in FAST else [pytest.mark.slow] for name in SAMPLERS}
PAIRS = [pytest.param(name, "flow", marks=MARKS[name]) for name in SAMPLERS]
PAIRS += [pytest.param("heun", "edm", marks=pytest.mark.slow), pytest.param("ancestral", "vp", marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "process"), PAIRS)
def test_observer_changes_no_bit_of_a_sample(name, process):
    sampler, denoise = sampler_of(process, name, 12), network(process)
    plain = jax.jit(lambda keys: sampler(denoise, (3,), keys))(keys_of(16))
    watched, score = jax.jit(lambda keys: sampler.observe(trajectory_variance(), denoise, (3,), keys))(keys_of(16))
    np.testing.assert_array_equal(plain, watched)
    assert score.shape == (16,)
    assert score.min() > 0


@pytest.mark.parametrize(("name", "process"), [("heun", "edm"), ("ancestral", "vp")])
def test_trajectory_variance_is_that_of_the_predictions_in_the_window(name, process):
    sampler, denoise = sampler_of(process, name, 12), network(process)
    observers = combine_observers(
        {"all": EVERYTHING, "last": trajectory_variance(), "early": trajectory_variance((2, 6))}
    )
    _, seen = jax.jit(lambda keys: sampler.observe(observers, denoise, (3,), keys))(keys_of(16))
    predictions = np.asarray(seen["all"], np.float64)
    assert np.ptp(predictions, axis=0).max() > 1e-3
    for window, found in ((predictions[-10:], seen["last"]), (predictions[5:10], seen["early"])):
        np.testing.assert_allclose(found, window.var(axis=0).mean(axis=-1), rtol=1e-4)


@pytest.mark.parametrize("name", ["midpoint", "heun", "predictor_corrector"])
def test_trajectory_variance_takes_the_first_prediction_of_a_step(name):
    """With a denoiser that tells the time, the times at which the steps begin."""
    sampler = make_sampler(FLOW, Sampling(name, 6))
    _, seen = sampler.observe(EVERYTHING, lambda x, t, condition: 0 * x + t[:, None], (2,), keys_of(3))
    np.testing.assert_allclose(seen, np.broadcast_to(np.linspace(1, 0, 7)[:-1, None, None], (6, 3, 2)), rtol=1e-6)


def test_trajectory_variance_ignores_predictions_outside_the_window():
    """Where alpha underflows, a prediction made of the noise may overflow."""

    def denoise(x, t, condition):
        return jnp.where(t[:, None] > 0.6, jnp.nan, jnp.where(t[:, None] > 0.4, 1e30, 0.0)) * jnp.ones_like(x)

    sampler = make_sampler(FLOW, Sampling("multistep", 10), is_consistency=True)
    windows = {"late": trajectory_variance((0, 2)), "all": trajectory_variance()}
    _, seen = sampler.observe(combine_observers(windows), denoise, (2,), keys_of(3))
    np.testing.assert_array_equal(seen["late"], 0.0)
    assert np.all(np.isnan(seen["all"]))


def test_trajectory_variance_of_offset_data_keeps_its_digits():
    """A variance of 1e-6 around 1000: the difference of two sums of squares would have lost it."""

    def denoise(x, t, condition):
        return 1000.0 + 0.0 * x + jnp.where(jnp.round(20 * t[:, None]) % 2 == 0, 0.5, -0.5)

    _, score = make_sampler(FLOW, Sampling("euler", 20)).observe(trajectory_variance(), denoise, (2,), keys_of(2))
    np.testing.assert_allclose(score, 0.25, rtol=1e-4)


def test_trajectory_variance_depends_on_its_own_key_alone():
    sampler, denoise = sampler_of("vp", "ancestral", 12), network("vp")
    draw = jax.jit(lambda keys: sampler.observe(trajectory_variance(), denoise, (3,), keys)[1])
    once, again = draw(keys_of(5)), draw(keys_of(5, seed=1).at[0].set(keys_of(5)[3]))
    np.testing.assert_allclose(once[3], again[0], rtol=1e-6)
    assert len(np.unique(np.stack([once, again]))) == 9


def test_trajectory_variance_of_a_short_trajectory_takes_all_steps():
    def denoise(x, t, condition):
        return 0 * x + t[:, None]

    _, score = make_sampler(FLOW, Sampling("euler", 2)).observe(trajectory_variance(WINDOW), denoise, (1,), keys_of(1))
    np.testing.assert_allclose(score, 0.0625)


def test_observed_solver_still_differentiates():
    """The opaque rounding has the identity's slope."""
    sampler = make_sampler(FLOW, Sampling("euler", 3))

    def sample(shift):
        return sampler(lambda x, t, condition: 0 * x + shift, (1,), keys_of(2))[0, 0]

    assert jax.jvp(sample, (0.5,), (1.0,)) == (0.5, 1.0)
    assert jax.grad(sample)(0.5) == 1.0


@pytest.mark.parametrize("window", [(3, 2), (-1, 4), (5, 5)])
def test_trajectory_variance_refuses_an_empty_window_in_one_line(window):
    with pytest.raises(UsageError) as caught:
        trajectory_variance(window)
    assert "\n" not in str(caught.value)


def test_restart_sampler_cannot_be_observed():
    sampler = make_sampler(FLOW, Sampling("restart", 4))
    assert not sampler.is_observable
    assert make_sampler(FLOW, Sampling("euler", 4)).is_observable
    with pytest.raises(UsageError, match="restart"):
        sampler.observe(trajectory_variance(), lambda x, t, condition: x, (1,), keys_of(1))
