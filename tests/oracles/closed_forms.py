"""Closed forms, to compare with the float32 results of the library."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.stats import multivariate_normal, norm

from aigc_jax.processes.gaussian import Process, expand, posterior
from aigc_jax.samplers.grids import karras
from aigc_jax.samplers.guidance import autoguidance, classifier, classifier_free, negative_condition
from aigc_jax.samplers.likelihood import Likelihood, bits_per_dim, dequantize, make_log_likelihood
from aigc_jax.samplers.ode import heun
from aigc_jax.types import Condition, DenoiseFn, Guidance
from tests.oracles.mixture import Mixture
from tests.oracles.orders import ENDS, PROCESSES

COVARIANCE = np.array([[0.5, 0.2, 0.0], [0.2, 0.3, -0.1], [0.0, -0.1, 0.4]])
MEAN = np.array([0.5, -0.3, 0.1])
"""The Gaussian whose likelihood is computed."""


class Check(NamedTuple):
    """One figure: what it is, under which process, ours and the exact one; both may be arrays."""

    name: str
    process: str
    ours: np.ndarray
    exact: np.ndarray

    @property
    def difference(self) -> float:
        """The largest absolute difference."""
        return float(np.abs(np.asarray(self.ours, np.float64) - self.exact).max())


def gaussian_denoiser(process: Process, mean: np.ndarray, covariance: np.ndarray) -> DenoiseFn:
    """E[x_0 | x_t] for Gaussian data in a few dimensions."""
    values, vectors = np.linalg.eigh(covariance)
    m, v, basis = (jnp.asarray(a, jnp.float32) for a in (mean, values, vectors))

    def denoise(x: Array, t: Array, condition: Condition) -> Array:
        alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
        gain = alpha * v[None] / (jnp.square(alpha) * v[None] + jnp.square(sigma))
        return m[None] + (gain * ((x - alpha * m[None]) @ basis)) @ basis.T

    return denoise


def posteriors() -> Iterator[Check]:
    """q(x_s | x_t, x_0) by conditioning the joint Gaussian of x_s and x_t, in float64."""
    for name, process in PROCESSES.items():
        s, t = (process.time_at(jnp.array(ratios)) for ratios in ([0.1, 1.0, 5.0], [0.3, 1.1, 50.0]))
        with jax.enable_x64(True):
            arrays = [function(jnp.asarray(u, jnp.float64)) for u in (s, t) for function in process[:2]]
        alpha_s, sigma_s, alpha_t, sigma_t = (np.asarray(array) for array in arrays)
        cross = alpha_t / alpha_s * sigma_s**2
        gain = cross / sigma_t**2
        exact = [gain, alpha_s - gain * alpha_t, np.sqrt(sigma_s**2 - gain * cross)]
        yield Check(
            "posterior: factors of x_t and x_0, std", name, np.asarray(posterior(process, s, t)[:3]), np.array(exact)
        )


def likelihoods(num_probes: int = 64) -> Iterator[Check]:
    """Densities of models of a Gaussian with correlations, and of a mixture; exact trace, and Hutchinson's estimate."""
    points = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 8)
    mixture, line = Mixture(), np.linspace(-2.0, 2.5, 8)
    density = np.log(norm.pdf(line[:, None], mixture.means, mixture.stds) @ np.asarray(mixture.weights))
    for name, process in PROCESSES.items():
        exact, denoise = _model(process).logpdf(points), gaussian_denoiser(process, MEAN, COVARIANCE)
        for label, probes in (("exact trace", 0), (f"Hutchinson, {num_probes} probes", num_probes)):
            ours = log_prob_of(process, denoise, points, Likelihood(num_probes=probes))
            yield Check(f"log p, Gaussian, nats: {label}", name, ours, exact)
        if process.alpha(process.t_max) == 0:  # elsewhere the prior is not quite where the noise ends
            ours = log_prob_of(process, mixture.denoiser(process), line[:, None], Likelihood(num_probes=0))
            yield Check("log p, mixture, nats: exact trace", name, ours, density)


def log_prob_of(process: Process, denoise: DenoiseFn, points: np.ndarray, likelihood: Likelihood) -> np.ndarray:
    """Our log-likelihoods of points [B, D]."""
    log_prob, keys = make_log_likelihood(process, likelihood), jax.random.split(jax.random.key(0), len(points))
    return np.asarray(jax.jit(lambda x: log_prob(denoise, x, keys, None))(jnp.asarray(points, jnp.float32)))


def _model(process: Process) -> Any:
    """What the ODE makes of the prior N(0, sigma(t_max)^2), which is not quite the noised data: a Gaussian too."""
    values, vectors = np.linalg.eigh(COVARIANCE)
    alpha, sigma = (float(function(process.t_max)) for function in process[:2])
    least = max(float(process.noise_ratio(process.t_min)), Likelihood().sigma_min)  # of the noise that stays
    scale = np.sqrt((values + least**2) / (alpha**2 * values + sigma**2))
    mean = MEAN - vectors @ (scale * alpha * (vectors.T @ MEAN))
    spread: Any = vectors @ np.diag((scale * sigma) ** 2) @ vectors.T
    return multivariate_normal(mean, spread)


def uniform_bits() -> Iterator[Check]:
    """Grey levels that are all equally likely take 8 bits a pixel, whatever the dequantization drew."""
    levels = jnp.arange(256.0)[:, None] / 127.5 - 1
    x = np.asarray(dequantize(jax.random.split(jax.random.key(0), 256), levels), np.float64)
    assert (np.abs(x) <= 1 + 1 / 255).all()
    ours = bits_per_dim(jnp.asarray(-np.log(np.full(256, 2 + 2 / 255)), jnp.float32), 1)
    yield Check("bits/dim of a uniform pmf", "", np.asarray(ours), np.full(256, 8.0))


def guidances(weight: float = 3.0) -> Iterator[Check]:
    """Guided sampling on Gaussians, from the noise to the data: states of given rank reach the exact quantiles.

    With the condition N(m_c, v) and without it N(m_u, v), guidance of weight w samples N(m_u + w (m_c - m_u), v). A
    classifier p(y | x_0) = N(y; x_0, r) on the prior N(0, 1), marginalised over x_0 given x_t, samples the posterior.
    """
    m_u, m_c, v, y, r = -0.2, 0.3, 0.25, 1.5, 0.5
    for name, process in PROCESSES.items():

        def by_condition(x: Array, t: Array, condition: Condition, process: Process = process) -> Array:
            mean = jnp.where(condition == 0, m_c, m_u)[:, None] if condition is not None else m_u
            alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
            return mean + alpha * v / (jnp.square(alpha) * v + jnp.square(sigma)) * (x - alpha * mean)

        def log_prob(x: Array, t: Array, condition: Condition, process: Process = process) -> Array:
            alpha, sigma = process.alpha(t), process.sigma(t)
            total = jnp.square(alpha) + jnp.square(sigma)
            spread = jnp.square(sigma) / total + r
            return -0.5 * jnp.square(y - alpha / total * x[:, 0]) / spread

        prior = gaussian_denoiser(process, np.zeros(1), np.eye(1))
        weak = lambda x, t, condition: by_condition(x, t, jnp.ones_like(condition))  # noqa: E731
        extrapolated = (m_u + weight * (m_c - m_u), v)
        cases: list[tuple[str, Guidance, DenoiseFn, tuple[float, float]]] = [
            (f"classifier-free, w = {weight:g}", classifier_free(weight, null=1), by_condition, extrapolated),
            ("classifier-free, w = 1", classifier_free(1.0), by_condition, (m_c, v)),
            (f"negative condition, w = {weight:g}", negative_condition(weight, 1), by_condition, extrapolated),
            (f"autoguidance, w = {weight:g}", autoguidance(weight, weak), by_condition, extrapolated),
            ("classifier, scale 1", classifier(process, log_prob), prior, (y / (1 + r), r / (1 + r))),
        ]
        for label, guidance, denoise, (mean, variance) in cases:
            yield Check(f"guidance: {label}", name, *_quantiles(process, guidance(denoise), mean, variance))


def _quantiles(process: Process, denoise: DenoiseFn, mean: float, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the ODE takes noise of given ranks, and the quantiles of N(mean, variance) at the end of the grid."""
    ranks, times = norm.ppf(np.linspace(0.02, 0.98, 9)), karras()(process, 200)
    # The exact state at the beginning: some processes keep a little of the signal there.
    alpha, sigma = (np.asarray(function(times), np.float64) for function in process[:2])
    x = alpha[0] * mean + np.sqrt(alpha[0] ** 2 * variance + sigma[0] ** 2) * ranks
    keys, condition = jax.random.split(jax.random.key(0), len(ranks)), jnp.zeros(len(ranks), jnp.int32)
    solve = jax.jit(lambda x: heun(process)(denoise, x, times, keys, condition)[:, 0])
    exact = alpha[-1] * mean + np.sqrt(alpha[-1] ** 2 * variance + sigma[-1] ** 2) * ranks
    return np.asarray(solve(jnp.asarray(x[:, None], jnp.float32))), exact


def register(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    commands.add_parser("closed-forms", help="closed-form checks, as a Markdown table").set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    print("| what | process | largest difference | of values up to |\n|---|---|---|---|")
    for checks in (posteriors, likelihoods, uniform_bits, guidances):
        for check in checks():
            if check.process != ENDS:
                largest = np.abs(check.exact).max()
                print(f"| {check.name} | {check.process} | {check.difference:.1e} | {largest:.2g} |", flush=True)
    return 0
