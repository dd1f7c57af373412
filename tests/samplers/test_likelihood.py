"""Likelihoods by the ODE against densities in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from aigc_jax.samplers.likelihood import LEVEL, Likelihood, dequantize, make_log_likelihood
from aigc_jax.types import UsageError
from tests.oracles import closed_forms, orders
from tests.oracles.mixture import Mixture

FLOW = orders.PROCESSES["rectified_flow"]
EACH = [
    pytest.param(name, marks=[] if name == "rectified_flow" else [pytest.mark.slow])
    for name in orders.PROCESSES
    if name != orders.ENDS
]


@pytest.mark.checked
@pytest.mark.parametrize("name", EACH)
def test_log_likelihood_of_gaussians_and_mixtures_is_exact(name, monkeypatch):
    monkeypatch.setattr(closed_forms, "PROCESSES", {name: orders.PROCESSES[name]})
    for check in closed_forms.likelihoods():
        tolerance = 0.3 if "Hutchinson" in check.name else 1e-3 if "mixture" in check.name else 1e-5
        assert check.difference < tolerance, check


@pytest.mark.checked
def test_log_likelihood_with_probes_is_unbiased():
    denoise = closed_forms.gaussian_denoiser(FLOW, closed_forms.MEAN, closed_forms.COVARIANCE)
    log_prob = make_log_likelihood(FLOW, Likelihood(num_steps=30, num_probes=1))
    point, num = np.array([0.1, 0.4, -0.5]), 4000
    x = jnp.asarray(np.tile(point, (num, 1)), jnp.float32)
    draws = np.asarray(
        jax.jit(lambda x, keys: log_prob(denoise, x, keys, None))(x, jax.random.split(jax.random.key(1), num))
    )
    exact = multivariate_normal(closed_forms.MEAN, closed_forms.COVARIANCE).logpdf(point)
    assert draws.std() > 0.01
    assert abs(draws.mean() - exact) < 4 * draws.std() / num**0.5


@pytest.mark.checked
@pytest.mark.parametrize(("solver", "published"), [("heun", 2), ("rk4", 4)])
def test_log_likelihood_error_falls_at_the_order_of_the_solver(solver, published):
    points, nums, errors = np.array([1.5, 0.0]), (12, 24), []
    exact = norm.logpdf(points, 0.7, np.hypot(0.5, Likelihood().sigma_min))
    with jax.enable_x64(True):
        denoise, keys = Mixture((1.0,), (0.7,), (0.5,)).denoiser(FLOW), jax.random.split(jax.random.key(0), 2)
        for n in nums:
            log_prob = make_log_likelihood(FLOW, Likelihood(num_steps=n, num_probes=0, solver=solver))
            run = jax.jit(lambda x, log_prob=log_prob: log_prob(denoise, x, keys, None))
            errors.append(np.abs(np.asarray(run(jnp.asarray(points[:, None]))) - exact).max())
    assert published - 0.4 < orders.fitted_order(nums, errors) < published + 0.6


@pytest.mark.checked
def test_log_likelihood_depends_only_on_its_own_key():
    denoise = closed_forms.gaussian_denoiser(FLOW, closed_forms.MEAN, closed_forms.COVARIANCE)
    log_prob = make_log_likelihood(FLOW, Likelihood(num_steps=5, num_probes=2))
    run = jax.jit(lambda x, keys: log_prob(denoise, x, keys, None))
    x, keys = (
        jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32),
        jax.random.split(jax.random.key(0), 4),
    )
    once, again = run(x, keys), run(x[::-1], keys[::-1])
    np.testing.assert_allclose(once, again[::-1], rtol=1e-6)


@pytest.mark.checked
def test_log_likelihood_takes_any_shape_and_a_condition():
    denoise = lambda x, t, condition: x * condition.astype(x.dtype)[:, None, None, None] * 0.1  # noqa: E731
    log_prob = make_log_likelihood(FLOW, Likelihood(num_steps=3, num_probes=1))
    out = log_prob(denoise, jnp.zeros((2, 4, 4, 1)), jax.random.split(jax.random.key(0), 2), jnp.array([0, 1]))
    assert out.shape == (2,)
    assert out[0] != out[1]


def test_bits_per_dim_of_a_uniform_pmf_is_eight():
    (check,) = closed_forms.uniform_bits()
    assert check.difference == 0


def test_dequantize_keeps_levels_disjoint():
    levels = jnp.tile(jnp.arange(256.0) / 127.5 - 1, (50, 1))
    x = np.asarray(dequantize(jax.random.split(jax.random.key(0), 50), levels))
    back = np.rint((x + 1) * 127.5)
    assert (np.abs(back - np.arange(256)) <= 1e-3).mean() > 0.999
    assert np.std(x - np.asarray(levels)) == pytest.approx(LEVEL / 12**0.5, rel=0.02)


@pytest.mark.parametrize("settings", [Likelihood(0), Likelihood(num_probes=-1), Likelihood(sigma_min=0.0)])
def test_log_likelihood_refuses_impossible_settings(settings):
    with pytest.raises(UsageError, match="expected"):
        make_log_likelihood(FLOW, settings)
