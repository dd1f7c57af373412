"""In-painting of unknown pixels, and image-to-image from a partly noised input.

They work on the parts of a sampler, :func:`aigc_jax.samplers.sampling.make_plan`::

    plan = make_plan(process, sampling, num_classes=10)
    x, times = start_from(process, plan.times, image, keys, strength=0.5)
    changed = plan.solver(plan.guidance(denoise), x, times, keys, condition)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process
from aigc_jax.samplers import solver
from aigc_jax.samplers.solver import Interval, Solver
from aigc_jax.types import Condition, DenoiseFn, Guidance, Keys, UsageError


def keep_known(known: Float[Array, "batch *shape"], mask: Array) -> Guidance:
    """In-painting as guidance, for every solver: the known pixels of every prediction are replaced.

    It costs nothing, but steers the unknown pixels less than their conditional distribution would: for that use
    :func:`repaint` with resamples. The sample's known pixels are exact on a grid that ends without noise.

    Args:
        known: examples [B, ...]; their unknown pixels do not matter.
        mask: 1 where a pixel is known, 0 where it is generated; broadcastable to ``known`` and of its rank.

    >>> guide = keep_known(jnp.array([[5.0, 0.0]]), jnp.array([[1.0, 0.0]]))
    >>> guide(lambda x, t, condition: x)(jnp.ones((1, 2)), jnp.ones(1), None)
    Array([[5., 1.]], dtype=float32)
    """

    def guide(denoise: DenoiseFn) -> DenoiseFn:
        return lambda x, t, condition: jnp.where(mask > 0, known, denoise(x, t, condition))

    return guide


def repaint(
    process: Process, inner: Solver, known: Float[Array, "batch *shape"], mask: Array, *, num_resamples: int = 1
) -> Solver:
    """In-painting of states: after each step the known pixels are replaced by noised given ones.

    With resamples each step is made several times, with noise added back in between, which lets the unknown pixels fit
    the known ones: 1 is plain replacement (Song et al. 2021, appendix I.2), 10 the paper's. ``inner``, ancestral in the
    paper, is called step by step: a multistep method is of order 1 here, and churn counts per step. ``mask`` is as for
    :func:`keep_known`.

    Reference:
        Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models", 2022, algorithm 1
        (jumps of one step).
    """
    if num_resamples < 1:
        raise UsageError(f"expected num_resamples >= 1, got {num_resamples}: 1 makes each step once")

    def solve(denoise: DenoiseFn, x: Array, times: Array, keys: Keys, condition: Condition = None) -> Array:
        def body(x: Array, interval: Interval) -> tuple[Array, None]:
            t, s, number = interval

            def once(states: tuple[Array, Array], repeat: Array) -> tuple[tuple[Array, Array], None]:
                own = solver.fold(solver.fold(keys, number), repeat)
                x = inner(denoise, states[0], jnp.stack([t, s]), own, condition)
                noised = process.alpha(s) * known + process.sigma(s) * solver.noise(own, "known", x)
                x = jnp.where(mask > 0, noised, x)
                return (solver.renoise(process, x, interval, solver.noise(own, "resample", x)), x), None

            (_, x), _ = jax.lax.scan(once, (x, x), jnp.arange(num_resamples, dtype=jnp.int32))
            return x, None

        numbers = jnp.arange(times.shape[0] - 1, dtype=jnp.int32)
        return jax.lax.scan(body, x, Interval(times[:-1], times[1:], numbers))[0]

    return solve


def start_from(
    process: Process, times: Float[Array, " points"], image: Float[Array, "batch *shape"], keys: Keys, strength: float
) -> tuple[Array, Float[Array, " rest"]]:
    """Image-to-image: the noised example at the first of the remaining times of a grid, and these times.

    ``strength`` is the share in (0, 1] of the steps that are made: 1 forgets the example (but for the signal that the
    process keeps at its end), little strength changes details.

    Reference:
        Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations", 2022,
        algorithm 1.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> keys, times = jax.random.split(jax.random.key(0), 1), jnp.linspace(1.0, 0.0, 5)
    >>> start_from(rectified_flow(), times, jnp.ones((1, 1)), keys, 0.5)[1]
    Array([0.5 , 0.25, 0.  ], dtype=float32)
    """
    if not 0 < strength <= 1:
        raise UsageError(f"expected a strength in (0, 1], got {strength}: 0.5 makes the second half of the steps")
    num_steps = max(1, round(strength * (times.shape[0] - 1)))
    rest = times[times.shape[0] - 1 - num_steps :]
    t = jnp.broadcast_to(rest[0], image.shape[:1])
    return process.corrupt(image, solver.noise(keys, "noise", image), t), rest
