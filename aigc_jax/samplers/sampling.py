"""From settings to a sampler: which solver, on which grid, under which guidance."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.rng import normal, split_by_name
from aigc_jax.samplers import grids
from aigc_jax.samplers.ddim import VarianceFn, ancestral, ddim
from aigc_jax.samplers.dpm_solver import dpm_solver
from aigc_jax.samplers.guidance import classifier_free
from aigc_jax.samplers.multistep import multistep
from aigc_jax.samplers.ode import euler, heun, midpoint
from aigc_jax.samplers.solver import Solver
from aigc_jax.types import Condition, DenoiseFn, Guidance, Keys, UsageError

SamplerName = Literal["euler", "midpoint", "heun", "ddim", "ancestral", "dpm_solver", "multistep"]
"""The solvers by name, as in configs."""


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn from a diffusion model."""

    sampler: SamplerName = "heun"
    """The solver."""
    num_steps: int = 20
    """Number of steps. Midpoint and Heun evaluate the network twice in each, the others once."""
    grid: grids.GridName = "uniform"
    """Where the steps lie: evenly in t, in (sigma / alpha)^(1/7), or in the log signal-to-noise ratio."""
    guidance: float = 1.0
    """Classifier-free guidance weight w >= 0 of u + w (c - u); 1 is the conditional model itself."""
    guidance_rescale: float = 0.0
    """Share in [0, 1] by which guided predictions get the contrast of unguided ones back."""
    eta: float = 0.0
    """Share of fresh noise in DDIM, in [0, 1]."""
    churn: float = 0.0
    """S_churn >= 0 of EDM's Heun sampler: how much noise all steps together add and remove."""


@runtime_checkable
class SamplerFn(Protocol):
    """Draws samples with a denoiser."""

    def __call__(self, denoise: DenoiseFn, shape: tuple[int, ...], keys: Keys, condition: Condition = None) -> Array:
        """Draw one sample per key.

        Args:
            denoise: the denoiser; the sampler's guidance is applied to it.
            shape: the shape of one sample.
            keys: one key per sample [B]; sample i depends on ``keys[i]`` and ``condition[i]`` alone.
            condition: int32 [B], or None.

        Returns:
            [B, *shape] at the data end of the process.
        """
        ...


def make_sampler(
    process: Process,
    sampling: Sampling,
    *,
    num_classes: int = 0,
    guidance: Guidance = lambda denoise: denoise,
    variance: VarianceFn | None = None,
) -> SamplerFn:
    """Build the sampler that settings describe.

    Args:
        process: the noise process that the denoiser was trained with.
        sampling: the settings.
        num_classes: number of conditions 0 ... K-1 of the model, whose null condition is K; 0 for an unconditional one.
        guidance: applied to the denoiser after classifier-free guidance.
        variance: the learned variance of the ancestral sampler; None for the posterior's.

    Returns:
        The sampler.

    Raises:
        UsageError: a setting is not possible, or not for this model.

    >>> import jax
    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> sampler = make_sampler(rectified_flow(), Sampling("euler", num_steps=2))
    >>> sampler(lambda x, t, condition: 0 * x + 2, (1,), jax.random.split(jax.random.key(0), 1))
    Array([[2.]], dtype=float32)
    """
    check(sampling, num_classes)
    solver = _solver(process, sampling, variance)
    times = _GRIDS[sampling.grid]()(process, sampling.num_steps)
    null = num_classes or None
    guide = classifier_free(sampling.guidance, null=null, phi=sampling.guidance_rescale)

    def sample(denoise: DenoiseFn, shape: tuple[int, ...], keys: Keys, condition: Condition = None) -> Array:
        named = split_by_name(keys, "noise", "solver")
        x = process.sigma(times[0]) * normal(named["noise"], shape)
        return solver(guidance(guide(denoise)), x, times, named["solver"], condition)

    return sample


class Evaluations(NamedTuple):
    """What one sample costs.

    Attributes:
        num_denoise: calls of the denoiser: NFE as papers count it.
        num_network: forward passes of the network for one example: twice as many under classifier-free guidance.
    """

    num_denoise: int
    num_network: int


def num_evaluations(sampling: Sampling, is_guided: bool | None = None) -> Evaluations:
    """Network evaluations per sample, on a grid that ends without noise.

    Args:
        sampling: the settings.
        is_guided: whether each denoising needs two forward passes; None decides by the guidance weight.

    Returns:
        Both counts.

    >>> num_evaluations(Sampling("heun", num_steps=18, guidance=2.0))
    Evaluations(num_denoise=35, num_network=70)
    """
    n = sampling.num_steps
    num_denoise = {"midpoint": 2 * n, "heun": 2 * n - 1}.get(sampling.sampler, n)
    if is_guided is None:
        is_guided = sampling.guidance not in (0, 1)
    return Evaluations(num_denoise, num_denoise * (2 if is_guided else 1))


def check(sampling: Sampling, num_classes: int = 0) -> None:
    """Refuse settings that cannot be, before anything compiles.

    Args:
        sampling: the settings.
        num_classes: number of conditions of the model; 0 for an unconditional one.

    Raises:
        UsageError: with one line that says what to do.

    >>> check(Sampling())
    """
    for name, kind in (("sampler", SamplerName), ("grid", grids.GridName)):
        if getattr(sampling, name) not in typing.get_args(kind):
            known = ", ".join(typing.get_args(kind))
            raise UsageError(f"no {name} {getattr(sampling, name)!r}: expected one of {known}")
    if sampling.num_steps < 1:
        raise UsageError(f"expected num_steps >= 1, got {sampling.num_steps}: 20 suffice for most solvers")
    if not num_classes and sampling.guidance != 1:
        raise UsageError(f"guidance {sampling.guidance} needs a conditional model, this one has no classes: use 1")


_GRIDS: dict[str, Callable[[], grids.GridFn]] = {
    "uniform": grids.uniform,
    "karras": grids.karras,
    "logsnr": grids.logsnr,
}


def _solver(process: Process, sampling: Sampling, variance: VarianceFn | None) -> Solver:
    match sampling.sampler:
        case "euler":
            return euler(process)
        case "midpoint":
            return midpoint(process)
        case "heun":
            return heun(process, churn=sampling.churn)
        case "ddim":
            return ddim(process, eta=sampling.eta)
        case "ancestral":
            return ancestral(process, variance=variance or "posterior")
        case "dpm_solver":
            return dpm_solver(process)
        case "multistep":
            return multistep(process)
