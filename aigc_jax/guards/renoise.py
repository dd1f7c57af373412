"""Re-noise stability: distance of a sample from its reconstruction after a little noise and denoising.

The denoiser leads a point of the data back, a point between two modes to either of them. It needs a denoiser alone,
which may be that of another model.

Reference:
    The residual of a denoising autoencoder as a measure of the score: Alain and Bengio, "What Regularized Auto-Encoders
    Learn from the Data-Generating Distribution", 2014, theorem 1.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process
from aigc_jax.rng import normal, split_by_name
from aigc_jax.types import Condition, DenoiseFn, Keys, UsageError


def renoise_stability(
    process: Process,
    denoise: DenoiseFn,
    x: Float[Array, "batch *shape"],
    keys: Keys,
    condition: Condition = None,
    *,
    level: float,
    num_draws: int = 8,
) -> Float[Array, " batch"]:
    """S_t(x) = E |x_0(alpha_t x + sigma_t epsilon, t) - x|^2 / d, how far samples move when noised and denoised.

    Args:
        process: the noise process of the denoiser.
        denoise: the denoiser.
        x: samples [B, ...] at the data end of the process.
        keys: one key per sample [B]; score i depends on ``keys[i]`` alone.
        condition: target class of each sample, int32 [B]; None for a denoiser without condition.
        level: the noise level sigma_t / alpha_t > 0: one to five standard deviations of the data within a mode, for
            beyond that modes blur into each other and the score says nothing.
            :func:`aigc_jax.guards.assess.choose` finds the best of several on labelled samples.
        num_draws: draws of the noise over which the expectation is taken, each one evaluation.

    Returns:
        The score of each sample, higher for one less stable; squared units of ``x``.

    Raises:
        UsageError: the level is none of the process, or there are no draws.

    >>> from aigc_jax.processes.gaussian import edm
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> nearest_mode = lambda x_t, t, condition: jnp.sign(x_t)  # data at -1 and 1
    >>> renoise_stability(edm(), nearest_mode, jnp.array([[1.0], [0.0]]), keys, level=0.1)
    Array([0., 1.], dtype=float32)
    """
    check_level(process, level, num_draws)
    t = jnp.broadcast_to(process.time_at(jnp.float32(level)), x.shape[:1])
    keys = split_by_name(keys, "renoise")["renoise"]

    def add(total: Array, number: Array) -> tuple[Array, None]:
        own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
        x_t = process.corrupt(x, normal(own, x.shape[1:]).astype(x.dtype), t)
        moved = denoise(x_t, t, condition).astype(jnp.float32) - x
        return total + jnp.mean(jnp.square(moved), axis=tuple(range(1, x.ndim))), None

    # One draw after the other: memory for one evaluation, whatever their number. Zeros of the samples' own devices.
    zeros = 0.0 * jnp.mean(x.astype(jnp.float32), axis=tuple(range(1, x.ndim)))
    total, _ = jax.lax.scan(add, zeros, jnp.arange(num_draws, dtype=jnp.int32))
    return total / num_draws


def check_level(process: Process, level: float, num_draws: int = 1) -> None:
    """Refuse a noise level sigma / alpha that a process does not have, before anything compiles."""
    with jax.ensure_compile_time_eval():
        low, high = float(process.noise_ratio(process.t_min)), float(process.noise_ratio(process.t_max))
    if not (level > 0 and low <= level <= high and math.isfinite(level)):
        raise UsageError(f"expected a noise level sigma / alpha > 0 in [{low:g}, {high:g}], got {level}: 0.1 is usual")
    if num_draws < 1:
        raise UsageError(f"expected num_draws >= 1, got {num_draws}: 8 is usual")
