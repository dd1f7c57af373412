"""Gaussian processes against integrals, finite differences and Gaussian conditioning, all in float64 by numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from aigc_jax.processes import gaussian
from aigc_jax.processes.gaussian import posterior

PROCESSES = {
    "rectified_flow": gaussian.rectified_flow(),
    "edm": gaussian.edm(),
    "variance_exploding": gaussian.variance_exploding(),
    "variance_preserving": gaussian.variance_preserving(),
    "sub_variance_preserving": gaussian.sub_variance_preserving(),
    "cosine": gaussian.cosine(),
}
EACH = pytest.mark.parametrize("name", PROCESSES)


def times_of(process, num=41):
    """Times all over the range, crowded at both ends, the ends included."""
    span, near = process.t_max - process.t_min, np.logspace(-6, -2, 9)
    share = np.concatenate([[0.0], near, np.linspace(0.02, 0.98, num), 1 - near[::-1], [1.0]])
    return np.float32(process.t_min + span * share)


def exact(name, t):
    """(alpha, sigma) in float64 from the definitions in the papers: the integral of beta, the cosine, the paths."""
    t = float(t)
    beta_integral = quad(lambda u: 0.1 + u * 19.9, 0, t)[0] if t <= 1 else None
    return {
        "rectified_flow": lambda: (1 - t, t),
        "edm": lambda: (1.0, t),
        "variance_exploding": lambda: (1.0, 0.01 * (50 / 0.01) ** t),
        "variance_preserving": lambda: (np.exp(-beta_integral / 2), np.sqrt(-np.expm1(-beta_integral))),
        "sub_variance_preserving": lambda: (np.exp(-beta_integral / 2), -np.expm1(-beta_integral)),
        "cosine": lambda: cosine_of(t),
    }[name]()


def cosine_of(t):
    # longdouble: 1 - alpha_bar has no digits left near t = 0 in float64.
    offset = np.longdouble("0.008")
    now, start = (np.cos((u + offset) / (1 + offset) * np.arccos(np.longdouble(0))) for u in (np.longdouble(t), 0))
    alpha_bar = (now / start) ** 2
    return float(np.sqrt(alpha_bar)), float(np.sqrt(max(1 - alpha_bar, 0)))


@pytest.mark.one_case
@EACH
def test_schedules_match_the_papers(name):
    process = PROCESSES[name]
    for t in times_of(process):
        alpha, sigma = exact(name, t)
        np.testing.assert_allclose(process.alpha(t), alpha, rtol=2e-5, atol=2e-7)
        np.testing.assert_allclose(process.sigma(t), sigma, rtol=2e-5, atol=0)


@EACH
def test_time_at_inverts_the_noise_ratio(name):
    process, t = PROCESSES[name], times_of(PROCESSES[name])
    back = process.time_at(process.noise_ratio(t))
    np.testing.assert_allclose(back, t, rtol=1e-4, atol=3e-7 * process.t_max)
    ratio = np.float32(np.logspace(-2, 1.5, 50))
    np.testing.assert_allclose(process.noise_ratio(process.time_at(ratio)), ratio, rtol=1e-4)


@EACH
def test_schedules_are_monotone(name):
    process = PROCESSES[name]
    t = jnp.asarray(times_of(process, 400))
    assert (jnp.diff(process.sigma(t)) >= 0).all()
    assert (jnp.diff(process.alpha(t)) <= 0).all()
    assert process.alpha(t[-1]) >= 0
    assert (process.logsnr(t)[:-1] >= process.logsnr(t)[1:]).all()
    np.testing.assert_allclose(jnp.exp(-0.5 * process.logsnr(t)), process.noise_ratio(t), rtol=1e-5)


@EACH
def test_derivatives_match_finite_differences(name):
    process, step = PROCESSES[name], 1e-7
    # Not the ends: at t = 0 the slope of sigma = sqrt(t) is infinite.
    share = np.array([1e-3, 0.01, 0.1, 0.37, 0.5, 0.9, 0.99, 0.999])
    t = process.t_min + (process.t_max - process.t_min) * share
    with jax.enable_x64(True):
        for function, slope in zip((process.alpha, process.sigma), process.derivatives(jnp.asarray(t)), strict=True):
            numeric = (function(jnp.asarray(t + step)) - function(jnp.asarray(t - step))) / (2 * step)
            np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-6)


@EACH
def test_derivatives_are_finite_at_the_ends(name):
    process = PROCESSES[name]
    for t in times_of(process):
        assert np.isfinite(process.derivatives(jnp.asarray(t))).all()


@EACH
def test_posterior_matches_gaussian_conditioning(name):
    process = PROCESSES[name]
    span = process.t_max - process.t_min
    share = np.array([[0.2, 0.7], [0.0, 0.5], [0.0, 1.0], [0.5, 1.0], [0.5, 0.501], [0.999, 1.0], [0.0, 1e-3]])
    for s, t in np.float32(process.t_min + span * share):
        # The times as the process sees them: rounded to float32.
        (alpha_s, sigma_s), (alpha_t, sigma_t) = exact(name, s), exact(name, t)
        signal = alpha_t / alpha_s
        # Covariance of (x_s, x_t) given x_0; mean (alpha_s, alpha_t) x_0.
        covariance = np.array([[sigma_s**2, signal * sigma_s**2], [signal * sigma_s**2, sigma_t**2]])
        gain = covariance[0, 1] / covariance[1, 1]
        variance = np.linalg.det(covariance) / covariance[1, 1]
        expected = [gain, alpha_s - gain * alpha_t, np.sqrt(variance), np.sqrt(sigma_t**2 - signal**2 * sigma_s**2)]
        got = posterior(process, jnp.asarray(s), jnp.asarray(t))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_corrupt_adds_scaled_noise_to_each_example():
    process, t = PROCESSES["variance_preserving"], jnp.array([0.0, 0.3, 1.0])
    x_0, epsilon = jnp.ones((3, 2, 2, 1)), jnp.full((3, 2, 2, 1), 2.0)
    for i, row in enumerate(process.corrupt(x_0, epsilon, t)):
        alpha, sigma = exact("variance_preserving", t[i])
        np.testing.assert_allclose(row, np.full((2, 2, 1), alpha + 2 * sigma), rtol=1e-5)


def test_schedules_have_no_signal_or_noise_at_their_ends():
    flow = PROCESSES["rectified_flow"]
    assert flow.noise_ratio(1.0) == np.inf
    assert flow.time_at(np.inf) == 1.0
    for name in ("rectified_flow", "variance_preserving", "sub_variance_preserving", "cosine"):
        assert PROCESSES[name].sigma(0.0) == 0
        assert PROCESSES[name].alpha(0.0) == 1
        assert PROCESSES[name].time_at(0.0) == 0


@EACH
def test_schedules_have_finite_gradients(name):
    """A network's input may depend on them: no NaN from a branch that is not taken."""
    process = PROCESSES[name]
    for function in (process.noise_ratio, process.sigma, process.alpha):
        for t in (process.t_min, 0.5 * (process.t_min + process.t_max)):
            assert jnp.isfinite(jax.grad(function)(jnp.float32(t)))
