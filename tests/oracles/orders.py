"""Measured orders of convergence: every sampler against the exact answer, not against itself.

The probability-flow ODE in one dimension preserves ranks: the state with rank p among the noisy states becomes the
state with rank p among the clean ones, x_s = F_s^-1(F_t(x_t)). Samplers that draw noise are measured on Gaussian data,
where each of their steps is affine in the state and in its noise: mean and variance follow from the coefficients of
the steps with no Monte Carlo error, and the distance to the exact Gaussian is that of Wasserstein-2.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aigc_jax.processes import gaussian
from aigc_jax.processes.gaussian import Process
from aigc_jax.samplers import solver
from aigc_jax.samplers.ddim import ancestral, ddim
from aigc_jax.samplers.dpm_solver import dpm_solver
from aigc_jax.samplers.grids import karras_spread
from aigc_jax.samplers.ode import euler, heun, midpoint
from aigc_jax.samplers.restart import Restart, restart
from aigc_jax.samplers.sde import euler_maruyama, predictor_corrector
from aigc_jax.samplers.solver import Solver
from tests.oracles.mixture import Mixture

LEVELS = np.linspace(0.01, 0.99, 50)
"""Ranks of the states that are followed."""
ODE_RANGE, SDE_RANGE = (10.0, 0.1), (5.0, 0.2)
"""Noise levels sigma / alpha between which the orders are measured."""
ENDS = "rectified_flow, ends included"
"""The row from pure noise (alpha = 0) to no noise (sigma = 0), on a uniform grid."""
NOISES = ("ddim", "ancestral", "diffusion", "corrector 0", "churn", "restart")
"""The names under which samplers draw noise; at most one draw of each in a step."""


class Case(NamedTuple):
    """A sampler to measure: how it is built for N steps, and the order that was published for it."""

    build: Callable[[Process, int], Solver]
    order: int


PROCESSES: dict[str, Process] = {
    "rectified_flow": gaussian.rectified_flow(),
    "edm": gaussian.edm(),
    "variance_exploding": gaussian.variance_exploding(),
    "variance_preserving": gaussian.variance_preserving(),
    "sub_variance_preserving": gaussian.sub_variance_preserving(),
    "cosine": gaussian.cosine(),
    ENDS: gaussian.rectified_flow(),
}

DETERMINISTIC: dict[str, Case] = {
    "euler": Case(lambda process, n: euler(process), 1),
    "ddim": Case(lambda process, n: ddim(process), 1),
    "midpoint": Case(lambda process, n: midpoint(process), 2),
    "heun": Case(lambda process, n: heun(process), 2),
    "dpm_solver": Case(lambda process, n: dpm_solver(process), 2),
}

STOCHASTIC: dict[str, Case] = {
    "ancestral": Case(lambda process, n: ancestral(process), 1),
    "ddim, eta 1": Case(lambda process, n: ddim(process, eta=1.0), 1),
    "euler_maruyama": Case(lambda process, n: euler_maruyama(process), 1),
    # Langevin dynamics has a bias of its own, r^2: it must vanish with the steps.
    "predictor_corrector": Case(lambda process, n: predictor_corrector(process, snr=0.16 * (8 / n) ** 0.5), 1),
    # Solved step by step, so that the churn of N steps is asked for N times as small.
    "heun, churn": Case(lambda process, n: heun(process, churn=2.0 / n), 2),
    "restart": Case(lambda process, n: restart(process, [Restart(0.5, 3.0, num_restarts=1, num_steps=n)]), 2),
}


def ode_error(name: str, process_name: str, num_steps: int) -> float:
    """Root mean square distance to the exact states, over all ranks."""
    mixture, process = Mixture(), PROCESSES[process_name]
    with jax.enable_x64(True):
        times = _times(process, ODE_RANGE, num_steps)
        if process_name == ENDS:
            times = jnp.linspace(1.0, 0.0, num_steps + 1)
        x, exact = (_quantiles(*_scales(process, t)) for t in (times[0], times[-1]))
        solve = DETERMINISTIC[name].build(process, num_steps)
        keys = jax.random.split(jax.random.key(0), len(LEVELS))
        run = jax.jit(lambda x, times: solve(mixture.denoiser(process), x, times, keys))
        return float(np.sqrt(np.mean(np.square(np.asarray(run(jnp.asarray(x), times)) - exact))))


def gaussian_error(name: str, process_name: str, num_steps: int) -> float:
    """Wasserstein-2 distance between the Gaussian that a sampler draws from and the exact one."""
    data, process = Mixture((1.0,), (0.7,), (0.5,)), PROCESSES[process_name]
    with jax.enable_x64(True):
        times = _times(process, SDE_RANGE, num_steps)
        begin, end = (data.at(*_scales(process, t)) for t in (times[0], times[-1]))
        slopes, offsets, variances = affine(STOCHASTIC[name].build(process, num_steps), data, process, times)
    mean, variance = begin.means[0], begin.stds[0] ** 2
    for slope, offset, fresh in zip(slopes, offsets, variances, strict=True):
        mean, variance = slope * mean + offset, slope**2 * variance + fresh
    return float(np.hypot(mean - end.means[0], np.sqrt(variance) - end.stds[0]))


def affine(solve: Solver, data: Mixture, process: Process, times: Array) -> tuple[np.ndarray, ...]:
    """Each step as slope * x + offset + noise: slopes, offsets and variances of the noise [N]."""
    # Row 0 starts at 0 and row 1 at 1 without noise; each row after these gets one noise of size 1.
    rows = len(NOISES) + 2
    units = dict(zip(NOISES, np.eye(rows)[2:, :, None], strict=True))
    x, keys = jnp.asarray(np.eye(rows)[1][:, None]), jax.random.split(jax.random.key(0), rows)
    denoise = data.denoiser(process)
    with mock.patch.object(solver, "noise", lambda keys, name, like: jnp.asarray(units[name])):
        step = jax.jit(jax.vmap(lambda t, s: solve(denoise, x, jnp.stack([t, s]), keys)[:, 0]))
        out = np.asarray(step(times[:-1], times[1:]))
    offsets = out[:, 0]
    return out[:, 1] - offsets, offsets, np.square(out[:, 2:] - offsets[:, None]).sum(axis=1)


def _times(process: Process, span: tuple[float, float], num_steps: int) -> Array:
    """A grid between two noise levels, even in the power 1/7 of the noise level."""
    high, low = (jnp.float64(value) for value in span)
    return process.time_at(karras_spread(high, low, jnp.linspace(0.0, 1.0, num_steps + 1)))


@functools.lru_cache
def _quantiles(alpha: float, sigma: float) -> np.ndarray:
    return Mixture().at(alpha, sigma).quantiles(LEVELS)[:, None]


def _scales(process: Process, t: Array) -> tuple[float, float]:
    return float(process.alpha(t)), float(process.sigma(t))


def fitted_order(nums: tuple[int, ...], errors: list[float]) -> float:
    """The slope of log error against log N, by least squares over the finest three."""
    return float(-np.polyfit(np.log(nums[-3:]), np.log(errors[-3:]), 1)[0])


def rows(nums: tuple[int, ...], samplers: list[str]) -> Iterator[tuple[str, str, list[float], int]]:
    """Sampler, process, an error for each N, and the published order."""
    for cases, measure in ((DETERMINISTIC, ode_error), (STOCHASTIC, gaussian_error)):
        for (name, case), process_name in itertools.product(cases.items(), PROCESSES):
            if name in samplers and (measure is ode_error or process_name != ENDS):
                yield name, process_name, list(map(partial(measure, name, process_name), nums)), case.order


def register(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    command = commands.add_parser("orders", help="orders of convergence of all samplers, as a Markdown table")
    command.add_argument("--nums", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="numbers of steps")
    known = [*DETERMINISTIC, *STOCHASTIC]
    command.add_argument("--samplers", nargs="+", choices=known, default=known, help="which ones (default all)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    nums = tuple(args.nums)
    print(f"| sampler | process | {' | '.join(f'N = {n}' for n in nums)} | fitted order | published |")
    print("|---|---|" + "---|" * (len(nums) + 2))
    for name, process, errors, order in rows(nums, args.samplers):
        figures = " | ".join(f"{error:.1e}" for error in errors)
        print(f"| {name} | {process} | {figures} | {fitted_order(nums, errors):.2f} | {order} |", flush=True)
    return 0
