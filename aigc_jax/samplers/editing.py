"""Edits of given examples by a denoiser: in-painting with a mask, image-to-image without."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.rng import split_by_name
from aigc_jax.samplers.inpainting import repaint, start_from
from aigc_jax.samplers.sampling import Sampler
from aigc_jax.types import Condition, DenoiseFn, Keys

NUM_RESAMPLES = 4
"""How often each step is made under a mask, so that the new numbers fit the kept ones."""


def edit(
    sampler: Sampler,
    denoise: DenoiseFn,
    start: Array,
    keys: Keys,
    condition: Condition = None,
    *,
    mask: Array | None = None,
    strength: float = 1.0,
    num_resamples: int = NUM_RESAMPLES,
) -> Array:
    """Change examples ``start`` [B, ...] with a denoiser: in-painting with a mask, image-to-image without.

    ``mask`` is 1 where a number stays, 0 where it is generated, broadcastable to ``start`` and of its rank;
    ``strength`` is the share in (0, 1] of the steps that are made, from the example with the noise of the first one;
    ``num_resamples`` is how often each step is made under a mask.

    Reference:
        Meng et al., "SDEdit", 2022, algorithm 1; Lugmayr et al., "RePaint", 2022, algorithm 1.
    """
    process, plan, solver = sampler.process, sampler.plan, sampler.solver(denoise)
    named = split_by_name(keys, "start", "solver")
    x, times = start_from(process, plan.times, start, named["start"], strength)
    if mask is None:
        return solver(plan.guidance(denoise), x, times, named["solver"], condition)
    if strength == 1:
        # The start may have some signal left, and none of the replaced numbers may leak into it.
        blank = start_from(process, plan.times, jnp.zeros_like(start), named["start"], strength)[0]
        x = jnp.where(mask > 0, x, blank)
    kept = repaint(process, solver, start, mask, num_resamples=num_resamples)
    return kept(plan.guidance(denoise), x, times, named["solver"], condition)
