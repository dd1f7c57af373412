"""The settings of a sampler, and the cost of a sample under them."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from aigc_jax.processes.gaussian import Process
from aigc_jax.samplers.grids import GridName, end_time
from aigc_jax.types import UsageError

SamplerName = Literal[
    "euler",
    "midpoint",
    "heun",
    "ddim",
    "ancestral",
    "dpm_solver",
    "euler_maruyama",
    "predictor_corrector",
    "restart",
    "multistep",
]
"""The solvers by name, as in configs."""

ThresholdName = Literal["none", "static", "dynamic"]
"""How predictions are kept inside [-1, 1]."""


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn from a diffusion model."""

    REPORTED: ClassVar[tuple[str, ...]] = ("sampler", "num_steps", "guidance")
    """Settings that a report names even at their defaults."""

    sampler: SamplerName = "heun"
    """The solver."""
    num_steps: int = 20
    """Number of steps. Midpoint, Heun and Restart evaluate the network twice in each, the others once."""
    grid: GridName = "uniform"
    """Where the steps lie: evenly in t, in (sigma / alpha)^(1/7), or in the log signal-to-noise ratio. EDM, whose t is
    sigma itself, wants karras."""
    sigma_min: float = 0.002
    """Smallest noise level sigma / alpha of the karras and logsnr grids before the exact end."""
    sigma_max: float = 200.0
    """Largest noise level of these grids after the exact beginning."""
    guidance: float = 1.0
    """Classifier-free guidance weight w >= 0 of u + w (c - u); 1 is the conditional model itself."""
    guidance_rescale: float = 0.0
    """Share in [0, 1] by which guided predictions get the contrast of unguided ones back."""
    guidance_interval: tuple[float, float] | None = None
    """Noise levels sigma / alpha, low and high, between which there is guidance; None for all."""
    threshold: ThresholdName = "none"
    """Keep predictions in [-1, 1]: static clips them, dynamic shrinks them first."""
    eta: float = 0.0
    """DDIM: share of fresh noise, in [0, 1]; 1 is the ancestral sampler."""
    variance: Literal["posterior", "forward"] = "posterior"
    """Ancestral: variance of a step where the model has not learned one."""
    churn: float = 0.0
    """Heun: S_churn >= 0 of EDM, how much noise all steps together add and remove."""
    churn_min: float = 0.0
    """Heun: smallest noise level at which there is churn."""
    churn_max: float = 1000.0
    """Heun: largest noise level at which there is churn."""
    churn_noise: float = 1.0
    """Heun: standard deviation of the churn's noise."""
    snr: float = 0.16
    """Predictor-corrector: ratio of the corrector's step to the noise, >= 0."""
    num_corrections: int = 1
    """Predictor-corrector: corrector steps, one evaluation each, after each predictor step."""
    restart_interval: tuple[float, float] = (0.06, 0.3)
    """Restart: noise levels from which, and to which, it goes back."""
    num_restarts: int = 2
    """Restart: how many times it goes back."""
    restart_steps: int = 3
    """Restart: steps on each way down again."""


class Evaluations(NamedTuple):
    """Cost of one sample."""

    num_denoise: int  # calls of the denoiser: NFE as papers count it
    num_network: int  # forward passes of the network for one example: twice as many under classifier-free guidance


def num_evaluations(
    sampling: Sampling, is_guided: bool | None = None, *, process: Process | None = None
) -> Evaluations:
    """Network evaluations per sample; a guidance interval needs fewer than counted here.

    ``is_guided`` None decides by the guidance weight. ``process`` None is one that has a time without noise, as all but
    variance exploding have.
    """
    check_names(sampling)
    n, is_clean = sampling.num_steps, process is None or bool(process.sigma(end_time(process)) == 0)
    num_noisy = n - 1 if is_clean else n  # steps that end at a time with noise
    num_denoise = {
        "midpoint": 2 * n,
        "heun": n + num_noisy,
        "restart": n + num_noisy + 2 * sampling.num_restarts * sampling.restart_steps,
        "predictor_corrector": n + num_noisy * sampling.num_corrections,
    }.get(sampling.sampler, n)
    if is_guided is None:
        is_guided = sampling.guidance not in (0, 1)
    return Evaluations(num_denoise, num_denoise * (2 if is_guided else 1))


def check_names(sampling: Sampling) -> None:
    """Refuse names that do not exist.

    >>> check_names(Sampling())
    """
    kinds: tuple[tuple[str, Any], ...] = (
        ("sampler", SamplerName),
        ("grid", GridName),
        ("threshold", ThresholdName),
    )
    for name, kind in kinds:
        if (value := getattr(sampling, name)) not in typing.get_args(kind):
            raise UsageError(f"no {name} {value!r}: expected one of {', '.join(typing.get_args(kind))}")
