"""Weights and times of denoising losses, against integrals and the papers' closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from aigc_jax.processes import gaussian
from aigc_jax.processes.boundary import with_boundary
from aigc_jax.processes.prediction import Pair, precondition, predict
from aigc_jax.processes.times import logit_normal_times, lognormal_times, uniform_times
from aigc_jax.processes.weights import elbo_weight, min_snr_weight, simple_weight
from aigc_jax.rng import example_keys
from aigc_jax.types import UsageError

TIMES = jnp.linspace(0.02, 0.98, 7)
VP = gaussian.variance_preserving()


@pytest.mark.one_case
@pytest.mark.parametrize("kind", ["x_0", "epsilon", "v"])
def test_min_snr_weight_matches_the_paper_for_each_prediction(kind):
    snr = np.exp(np.asarray(VP.logsnr(TIMES), np.float64))
    # Hang et al. 2023, section 3.4: min(SNR, gamma) divided by what an error of the output is in x_0.
    paper = {"x_0": np.minimum(snr, 5), "epsilon": np.minimum(snr, 5) / snr, "v": np.minimum(snr, 5) / (snr + 1)}
    weight = min_snr_weight(VP, predict(VP, kind))(TIMES)
    np.testing.assert_allclose(weight, paper[kind], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["x_0", "epsilon", "v", "velocity"])
def test_elbo_weight_gives_the_closed_form_of_gaussian_data(kind):
    # Data N(0, s^2): the best denoiser errs by s^2 sigma^2 / (alpha^2 s^2 + sigma^2), and the integral of
    # -1/2 SNR' times that is 1/2 log((1 + s^2 SNR_max) / (1 + s^2 SNR_min)).
    variance, low, high = 0.7**2, 0.01, 0.99
    parameterization = predict(VP, kind)
    weight = elbo_weight(VP, parameterization)

    def integrand(t):
        t = jnp.array([t], jnp.float32)
        error = variance * VP.sigma(t) ** 2 / (VP.alpha(t) ** 2 * variance + VP.sigma(t) ** 2)
        return float((weight(t) * error / parameterization.x_0_per_output(t) ** 2)[0])

    snr = np.exp(np.asarray(VP.logsnr(jnp.array([low, high])), np.float64))
    exact = 0.5 * np.log((1 + variance * snr[0]) / (1 + variance * snr[1]))
    grid = low * (high / low) ** np.linspace(0, 1, 61)
    found = scipy.integrate.simpson([integrand(t) * t for t in grid], x=np.log(grid))
    assert found == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("make", [gaussian.variance_preserving, gaussian.cosine, gaussian.rectified_flow])
@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_weights_are_finite_at_both_ends(make, kind):
    process, ends = make(), jnp.array([0.0, make().t_max])
    assert jnp.isfinite(elbo_weight(process, predict(process, kind))(ends)).all()


def test_simple_weight_is_the_edm_loss():
    process = gaussian.edm()
    t = jnp.array([0.01, 0.5, 20.0])
    sigma = np.asarray(t, np.float64)
    # lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 of the error in x_0, Karras et al., table 1.
    in_x_0 = simple_weight(t) / precondition(process, 0.5).x_0_per_output(t) ** 2
    np.testing.assert_allclose(in_x_0, (sigma**2 + 0.25) / (0.5 * sigma) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "distribution"),
    [
        (uniform_times(VP), scipy.stats.uniform()),
        (logit_normal_times(0.3, 0.8), None),
        (
            lognormal_times(-1.2, 1.2, limits=(0.1, 2.0)),
            scipy.stats.truncnorm((np.log(0.1) + 1.2) / 1.2, (np.log(2.0) + 1.2) / 1.2, -1.2, 1.2),
        ),
        (lognormal_times(-1.1, 2.0), scipy.stats.lognorm(2.0, scale=np.exp(-1.1))),
    ],
)
def test_time_samplers_have_their_distributions(sampler, distribution):
    t = np.asarray(sampler(example_keys(jax.random.key(0), 4000)), np.float64)
    if distribution is not None and distribution.dist.name == "truncnorm":
        t = np.log(t)
    if distribution is None:
        t, distribution = np.log(t / (1 - t)), scipy.stats.norm(0.3, 0.8)
    assert scipy.stats.kstest(t, distribution.cdf).pvalue > 0.01


def test_uniform_times_of_a_chain_are_its_steps():
    t = np.asarray(uniform_times(VP, num_steps=4)(example_keys(jax.random.key(0), 400)))
    values, counts = np.unique(t, return_counts=True)
    np.testing.assert_array_equal(values, [0.25, 0.5, 0.75, 1.0])
    assert counts.min() > 60


def test_with_boundary_is_the_identity_at_the_least_noise():
    process = gaussian.edm()
    parameterization = with_boundary(process, 0.5)
    x, output = jnp.array([[0.3, -2.0]]), jnp.array([[7.0, -9.0]])
    np.testing.assert_array_equal(parameterization.to_x_0(output, x, jnp.array([0.002])), x)
    # Far from the boundary it is EDM's preconditioning.
    t, pair = jnp.array([40.0]), Pair(x, output)
    np.testing.assert_allclose(parameterization.target(pair, t), precondition(process).target(pair, t), rtol=1e-3)
    np.testing.assert_allclose(
        parameterization.to_x_0(parameterization.target(pair, t), process.corrupt(*pair, t), t), x, atol=1e-4
    )


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: uniform_times(VP, num_steps=0),
        lambda: logit_normal_times(0.0, 0.0),
        lambda: lognormal_times(0.0, -1.0),
        lambda: min_snr_weight(VP, predict(VP, "v"), 0.0),
        lambda: with_boundary(VP),
        lambda: with_boundary(gaussian.edm(), 0.0),
        lambda: precondition(gaussian.rectified_flow()),
    ],
)
def test_weights_and_times_refuse_impossible_settings(mistake):
    with pytest.raises(UsageError) as caught:
        mistake()
    assert "\n" not in str(caught.value)
