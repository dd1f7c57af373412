"""Samplers from settings: solver, time grid and guidance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process, rectified_flow
from aigc_jax.rng import normal, split_by_name
from aigc_jax.samplers import grids
from aigc_jax.samplers.ddim import VarianceFn, ancestral, ddim
from aigc_jax.samplers.dpm_solver import dpm_solver
from aigc_jax.samplers.guidance import chain, classifier_free, interval
from aigc_jax.samplers.multistep import multistep
from aigc_jax.samplers.ode import euler, heun, midpoint
from aigc_jax.samplers.restart import Restart, restart
from aigc_jax.samplers.sde import euler_maruyama, predictor_corrector
from aigc_jax.samplers.settings import Sampling, check_names, num_evaluations
from aigc_jax.samplers.solver import Observer, Solver, StepSolver
from aigc_jax.samplers.thresholding import clip_x_0
from aigc_jax.types import Condition, DenoiseFn, Guidance, Keys, UsageError

__all__ = ["Plan", "Sampler", "Sampling", "check", "make_plan", "make_sampler", "num_evaluations"]

DYNAMIC_PERCENTILE = 99.5
"""Percentile of dynamic thresholding, as in Saharia et al. 2022, appendix D."""


class Plan(NamedTuple):
    """Solver, grid (decreasing [N + 1]) and guidance that settings define for one process and model."""

    solver: Solver
    times: Array
    guidance: Guidance


class WithVariance(NamedTuple):
    """A denoiser that also learned the variance of each reverse step."""

    denoise: DenoiseFn
    variance: VarianceFn

    def __call__(self, x_t: Array, t: Array, condition: Condition) -> Array:
        """The predicted x_0."""
        return self.denoise(x_t, t, condition)


class Sampler(NamedTuple):
    """Sampling with a denoiser; ``solver_of`` makes the solver of a denoiser :class:`WithVariance`."""

    process: Process
    plan: Plan
    solver_of: Callable[[VarianceFn], Solver]

    def __call__(
        self,
        denoise: DenoiseFn,
        shape: tuple[int, ...],
        keys: Keys,
        condition: Condition = None,
        *,
        noise: Array | None = None,
    ) -> Array:
        """Draw one sample [B, *shape] per key; sample i depends on ``keys[i]`` and ``condition[i]`` alone.

        The plan's guidance is applied to ``denoise``; ``noise`` is standard normal [B, *shape], None draws it from the
        keys.
        """
        x, solver_keys = self._begin(shape, keys, noise)
        return self.solver(denoise)(self.plan.guidance(denoise), x, self.plan.times, solver_keys, condition)

    def solver(self, denoise: DenoiseFn) -> Solver:
        """The solver for a denoiser, with the denoiser's learned variance if there is one."""
        return self.solver_of(denoise.variance) if isinstance(denoise, WithVariance) else self.plan.solver

    def guided(self, guidance: Guidance) -> Sampler:
        """The sampler with one more guidance, applied to the denoiser after that of the settings."""
        return self._replace(plan=self.plan._replace(guidance=chain(self.plan.guidance, guidance)))

    @property
    def num_steps(self) -> int:
        """Steps of the grid."""
        return self.plan.times.shape[0] - 1

    @property
    def is_observable(self) -> bool:
        """Whether the solver goes step by step over its grid and can be observed. Restart does not."""
        return isinstance(self.plan.solver, StepSolver)

    def observe(
        self, observer: Observer, denoise: DenoiseFn, shape: tuple[int, ...], keys: Keys, condition: Condition = None
    ) -> tuple[Array, Any]:
        """Draw the samples of a call; returns them and the observer's result, for an :attr:`is_observable` sampler."""
        solver = self.solver(denoise)
        if not isinstance(solver, StepSolver):
            raise UsageError("restart goes back and forth, so that its steps cannot be observed: use another sampler")
        x, solver_keys = self._begin(shape, keys, None)
        guided = self.plan.guidance(denoise)
        return solver.observe(observer, guided, x, self.plan.times, solver_keys, condition=condition)

    def _begin(self, shape: tuple[int, ...], keys: Keys, noise: Array | None) -> tuple[Array, Keys]:
        named = split_by_name(keys, "noise", "solver")
        noise = normal(named["noise"], shape) if noise is None else noise
        return self.process.sigma(self.plan.times[0]) * noise, named["solver"]


def make_plan(
    process: Process,
    sampling: Sampling,
    *,
    num_classes: int = 0,
    is_bounded: bool = True,
    is_consistency: bool = False,
) -> Plan:
    """Solver, grid and guidance of settings, the parts of :func:`make_sampler`, checked before anything compiles.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> make_plan(rectified_flow(), Sampling(num_steps=2)).times
    Array([1. , 0.5, 0. ], dtype=float32)
    """
    check_names(sampling)
    if not num_classes and sampling.guidance != 1:
        raise UsageError(f"guidance {sampling.guidance} needs a conditional model, this one has no classes: use 1")
    if (sampling.sampler == "multistep") != is_consistency:
        what = (
            "a consistency model takes the sampler multistep"
            if is_consistency
            else "multistep is for consistency models"
        )
        raise UsageError(f"{what}, got {sampling.sampler!r}: {'use multistep' if is_consistency else 'use dpm_solver'}")
    if is_consistency and sampling.guidance != 1:
        raise UsageError(f"a consistency model takes no guidance, got {sampling.guidance}: distil a guided teacher")
    if not is_bounded and sampling.threshold != "none":
        raise UsageError(
            f"threshold {sampling.threshold} is for images in [-1, 1], these data have no bounds: use none"
        )
    weight, span = sampling.guidance, sampling.guidance_interval
    if span is not None:
        limited = interval(process, weight, *span)
        weight = weight if weight == 1 else limited
    guidance = classifier_free(weight, null=num_classes or None, phi=sampling.guidance_rescale)
    if sampling.threshold != "none":
        guidance = chain(guidance, clip_x_0(percentile=DYNAMIC_PERCENTILE if sampling.threshold == "dynamic" else None))
    times = _grid(sampling)(process, sampling.num_steps)
    if is_consistency and sampling.num_steps > 1:
        # At the least noise the model is the identity, and an evaluation there would be wasted: leave that point out.
        times = _grid(sampling)(process, sampling.num_steps + 1)
        times = jnp.concatenate([times[:-2], times[-1:]])
    return Plan(_solver(process, sampling, None), times, guidance)


def make_sampler(
    process: Process,
    sampling: Sampling,
    *,
    num_classes: int = 0,
    is_bounded: bool = True,
    is_consistency: bool = False,
) -> Sampler:
    """The sampler of settings. It starts from noise N(0, sigma(t_max)^2), drawn from each sample's key named ``noise``.

    Args:
        process: the noise process that the denoiser was trained with.
        sampling: the settings.
        num_classes: number of conditions 0 ... K-1 of the model, whose null condition is K; 0 for an unconditional one.
        is_bounded: whether examples lie in [-1, 1], so that predictions may be kept there.
        is_consistency: whether the denoiser is a consistency model: it maps along the paths of the ODE, so that only
            the sampler ``multistep`` makes sense; and it was not trained without its condition.

    Raises:
        UsageError: an impossible setting, or one that is not possible for this model.

    >>> import jax
    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> sampler = make_sampler(rectified_flow(), Sampling("euler", num_steps=2))
    >>> sampler(lambda x, t, condition: 0 * x + 2, (1,), jax.random.split(jax.random.key(0), 1))
    Array([[2.]], dtype=float32)
    """
    plan = make_plan(process, sampling, num_classes=num_classes, is_bounded=is_bounded, is_consistency=is_consistency)
    return Sampler(process, plan, lambda variance: _solver(process, sampling, variance))


def check(sampling: Sampling, num_classes: int = 0) -> None:
    """Raise UsageError for impossible settings, before anything compiles."""
    make_plan(rectified_flow(), sampling, num_classes=num_classes)


def _grid(sampling: Sampling) -> grids.GridFn:
    if sampling.grid == "uniform":
        return grids.uniform()
    factory = grids.karras if sampling.grid == "karras" else grids.logsnr
    return factory(sigma_min=sampling.sigma_min, sigma_max=sampling.sigma_max)


def _solver(process: Process, sampling: Sampling, variance: VarianceFn | None) -> Solver:
    match sampling.sampler:
        case "euler":
            return euler(process)
        case "midpoint":
            return midpoint(process)
        case "heun":
            bounds = {
                "churn_min": sampling.churn_min,
                "churn_max": sampling.churn_max,
                "churn_noise": sampling.churn_noise,
            }
            return heun(process, churn=sampling.churn, num_steps=sampling.num_steps, **bounds)
        case "ddim":
            return ddim(process, eta=sampling.eta)
        case "ancestral":
            return ancestral(process, variance=variance or sampling.variance)
        case "dpm_solver":
            return dpm_solver(process)
        case "euler_maruyama":
            return euler_maruyama(process)
        case "predictor_corrector":
            return predictor_corrector(process, snr=sampling.snr, num_corrections=sampling.num_corrections)
        case "multistep":
            return multistep(process)
        case "restart":
            again = Restart(*sampling.restart_interval, sampling.num_restarts, sampling.restart_steps)
            return restart(process, [again])
