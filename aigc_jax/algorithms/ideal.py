"""A sampler without its network: the exact denoiser of a world takes its place, and what errs then is the sampler."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.algorithms.denoiser import Denoiser, SamplerFn
from aigc_jax.processes.gaussian import expand
from aigc_jax.rng import example_keys
from aigc_jax.types import Condition, ExactDenoiseFn, Guidance, IdealFn


def make_ideal_fn(denoiser: Denoiser, sampler: SamplerFn, guidance: Guidance) -> IdealFn:
    """The ``ideal`` of an algorithm that learned to denoise.

    Args:
        denoiser: names the process and the shape; its network is not used.
        sampler: from noise to samples.
        guidance: transform of the denoiser; the identity for none.

    Returns:
        The function.

    Reference:
        Aithal et al., "Understanding Hallucinations in Diffusion Models through Mode Interpolation", 2024, section 4.1:
        with the true score no sample lies between modes.
    """
    process = denoiser.process

    def ideal(exact: ExactDenoiseFn, key: Array, num_samples: int, condition: Condition) -> Array:
        def denoise(x_t: Array, t: Array, condition: Condition) -> Array:
            x_0 = exact(x_t, process.alpha(t), process.sigma(t), condition)
            # Without noise there is nothing to remove, and no exact posterior to divide by.
            return jnp.where(expand(process.sigma(t), x_0) > 0, x_0, x_t)

        x_0 = sampler(guidance(denoise), denoiser.shape, example_keys(key, num_samples), condition)
        return x_0 if denoiser.bounds is None else jnp.clip(x_0, *denoiser.bounds)

    return ideal
