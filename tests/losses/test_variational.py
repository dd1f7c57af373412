"""Terms of the variational bound against numerical integration and exact distribution functions."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from aigc_jax.losses.variational import discretized_gaussian, gaussian_kl


@pytest.mark.parametrize(("mean", "logvar"), [(0.0, 0.0), (1.3, -1.0), (-0.4, 1.5)])
def test_kl_is_the_integral(mean, logvar):
    p, q = scipy.stats.norm(mean, np.exp(0.5 * logvar)), scipy.stats.norm(0.2, np.exp(0.25))
    exact, _ = scipy.integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -30, 30, limit=200)
    found = gaussian_kl(*(jnp.float32(value) for value in (mean, logvar, 0.2, 0.5)))
    assert float(found) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(("mean", "logvar"), [(0.3, -4.0), (-1.2, -2.0), (0.97, -6.0)])
def test_pixels_have_the_mass_of_their_bins(mean, logvar):
    levels = np.arange(256) / 127.5 - 1
    found = np.exp(
        np.asarray(discretized_gaussian(jnp.asarray(levels, jnp.float32), jnp.float32(mean), jnp.float32(logvar)))
    )
    edges = np.concatenate([[-np.inf], levels[:-1] + 1 / 255, [np.inf]])
    exact = np.diff(scipy.stats.norm(mean, np.exp(0.5 * logvar)).cdf(edges))
    np.testing.assert_allclose(found, np.maximum(exact, 1e-12), rtol=2e-3, atol=1e-8)
    assert found.sum() == pytest.approx(1, abs=1e-4)
