"""Given images changed by a denoiser: unknown pixels made up, or everything but for a resemblance."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array

from aigc_jax.processes.gaussian import Process
from aigc_jax.rng import split_by_name
from aigc_jax.samplers.ddim import VarianceFn
from aigc_jax.samplers.inpainting import repaint, start_from
from aigc_jax.samplers.sampling import make_plan
from aigc_jax.samplers.settings import Sampling
from aigc_jax.types import Condition, DenoiseFn, Keys


@runtime_checkable
class EditorFn(Protocol):
    """Changes examples with a denoiser."""

    def __call__(
        self,
        denoise: DenoiseFn,
        image: Array,
        keys: Keys,
        condition: Condition = None,
        *,
        mask: Array | None = None,
        strength: float = 1.0,
    ) -> Array:
        """Change each example.

        Args:
            denoise: the denoiser; the sampler's guidance is applied to it.
            image: examples [B, ...].
            keys: one key per example [B].
            condition: int32 [B], what the results shall be; or None.
            mask: 1 where a pixel stays, 0 where it is made up; broadcastable to ``image`` and of its rank. None lets
                all of them change.
            strength: share in (0, 1] of the steps that are made, from the example with the noise of the first one.

        Returns:
            [B, ...].
        """
        ...


def make_editor(
    process: Process,
    sampling: Sampling,
    *,
    num_classes: int = 0,
    num_resamples: int = 4,
    variance: VarianceFn | None = None,
) -> EditorFn:
    """Build the editor that the settings of a sampler describe.

    Args:
        process: the noise process that the denoiser was trained with.
        sampling: the settings.
        num_classes: number of conditions of the model; 0 for an unconditional one.
        num_resamples: how often each step is made where pixels are kept, so that the new ones fit them.
        variance: the learned variance of the ancestral sampler; None for ``sampling.variance``.

    Returns:
        The editor.

    Raises:
        UsageError: a setting is not possible.

    Reference:
        Meng et al., "SDEdit", 2022, algorithm 1; Lugmayr et al., "RePaint", 2022, algorithm 1.

    >>> import jax
    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> editor = make_editor(rectified_flow(), Sampling("euler", num_steps=4))
    >>> keys, mask = jax.random.split(jax.random.key(0), 1), jnp.array([[1.0, 0.0]])
    >>> editor(lambda x, t, condition: 0 * x + 2, jnp.array([[5.0, 0.0]]), keys, mask=mask)
    Array([[5., 2.]], dtype=float32)
    """
    plan = make_plan(process, sampling, num_classes=num_classes, variance=variance)

    def edit(
        denoise: DenoiseFn,
        image: Array,
        keys: Keys,
        condition: Condition = None,
        *,
        mask: Array | None = None,
        strength: float = 1.0,
    ) -> Array:
        named = split_by_name(keys, "start", "solver")
        x, times = start_from(process, plan.times, image, named["start"], strength)
        if mask is None:
            return plan.solver(plan.guidance(denoise), x, times, named["solver"], condition)
        if strength == 1:
            # All is made up: nothing of the pixels that go may leak into the start, which may have some signal left.
            blank = start_from(process, plan.times, jnp.zeros_like(image), named["start"], strength)[0]
            x = jnp.where(mask > 0, x, blank)
        solver = repaint(process, plan.solver, image, mask, num_resamples=num_resamples)
        return solver(plan.guidance(denoise), x, times, named["solver"], condition)

    return edit
