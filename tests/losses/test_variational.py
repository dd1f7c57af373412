"""Terms of the variational bound against numerical integration and exact distribution functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from aigc_jax.losses.variational import discretized_gaussian, gaussian_kl


@pytest.mark.parametrize(("mean", "logvar"), [(0.0, 0.0), (1.3, -1.0), (-0.4, 1.5)])
def test_gaussian_kl_matches_the_integral(mean, logvar):
    p, q = scipy.stats.norm(mean, np.exp(0.5 * logvar)), scipy.stats.norm(0.2, np.exp(0.25))
    exact, _ = scipy.integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -30, 30, limit=200)
    found = gaussian_kl(*(jnp.float32(value) for value in (mean, logvar, 0.2, 0.5)))
    assert float(found) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(("mean", "logvar"), [(0.3, -4.0), (-1.2, -2.0), (0.97, -6.0)])
def test_discretized_gaussian_is_the_mass_of_bins(mean, logvar):
    levels = np.arange(256) / 127.5 - 1
    found = np.exp(
        np.asarray(discretized_gaussian(jnp.asarray(levels, jnp.float32), jnp.float32(mean), jnp.float32(logvar)))
    )
    edges = np.concatenate([[-np.inf], levels[:-1] + 1 / 255, [np.inf]])
    exact = np.diff(scipy.stats.norm(mean, np.exp(0.5 * logvar)).cdf(edges))
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-8)
    assert found.sum() == pytest.approx(1, abs=1e-4)


def exact_bin(x, mean, logvar):
    """The bin's log mass in float64: of two log distribution functions on the side of the mean where they are small."""
    scale = np.exp(-0.5 * logvar)
    upper, lower = (x + 1 / 255 - mean) * scale, (x - 1 / 255 - mean) * scale
    if x > 1 - 1 / 255:
        return scipy.stats.norm.logsf(lower)
    if x < -1 + 1 / 255:
        return scipy.stats.norm.logcdf(upper)
    high, low = (-lower, -upper) if lower > 0 else (upper, lower)
    high, low = scipy.stats.norm.logcdf([high, low])
    return high + np.log(-np.expm1(low - high))


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("x", "mean", "logvar", "nats"),
    [
        (0.2, 0.0, -7.6, -41.5),  # nine standard deviations off
        (1.0, -1.0, -9.0, -16_150.0),  # the outermost bin
        (-1.0, 1.0, -9.0, -16_150.0),
        (0.2, 3.0, -14.0, None),
        (0.2, 0.2, -14.0, None),
        (1.0, 1.5, 4.0, None),
        (0.2, 0.1, 6.0, None),
    ],
)
def test_discretized_gaussian_and_its_slopes_are_exact_in_the_tails(x, mean, logvar, nats):
    x = round((x + 1) * 127.5) / 127.5 - 1
    given = [jnp.float32(value) for value in (x, mean, logvar)]
    value, slopes = jax.value_and_grad(discretized_gaussian, argnums=(1, 2))(*given)
    assert value == pytest.approx(exact_bin(x, mean, logvar), rel=2e-5, abs=1e-4)
    assert nats is None or value == pytest.approx(nats, rel=2e-3)
    for number, slope in enumerate(slopes):
        step = np.eye(2)[number] * 1e-5
        ahead, behind = (exact_bin(x, *(np.array([mean, logvar]) + sign * step)) for sign in (1, -1))
        assert slope == pytest.approx((ahead - behind) / 2e-5, rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_discretized_gaussian_and_its_slopes_are_finite_for_any_input():
    x, mean, logvar = jnp.meshgrid(
        jnp.array([-1.0, -1 + 2 / 255, 0.0 + 1 / 255, 1.0]),
        jnp.linspace(-30.0, 30.0, 41),
        jnp.linspace(-30.0, 30.0, 31),
    )
    loss = lambda mean, logvar: discretized_gaussian(x, mean, logvar).sum()  # noqa: E731
    value, slopes = jax.value_and_grad(loss, argnums=(0, 1))(mean, logvar)
    assert all(np.isfinite(leaf).all() for leaf in (value, *slopes))
    assert discretized_gaussian(x, mean, logvar).max() <= 0
