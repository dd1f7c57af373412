"""Ancestral sampling of a categorical process, all tokens of an example at once.

Each step draws x_s from the mean of q(x_s | x_t, x_0) over the denoiser's p(x_0 | x_t). The tokens of an example are
drawn independently, so that few steps lose their dependence; with as many steps as tokens little is lost.

Reference:
    Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (D3PM), 2021, equation 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.processes.discrete import CategoricalProcess, draw_states
from aigc_jax.types import Condition, Keys, UsageError

LogitsFn = Callable[[Array, Array, Condition], Array]
"""``(x_t int32 [B, ...], t [B], condition) -> logits of x_0 [B, ..., V]``: a denoiser of tokens."""

TokenSolver = Callable[[LogitsFn, Array, Array, Keys, Condition], Array]
"""``(denoise, x [B, ...] at times[0], times [N + 1] falling, keys [B], condition) -> x [B, ...] at times[-1]``."""


@dataclass(frozen=True)
class TokenSampling:
    """Settings of the sampling of tokens."""

    num_steps: int = 64
    """Steps from noise to data, each one evaluation of the network (two with guidance)."""
    guidance: float = 1.0
    """Weight of classifier-free guidance on the logits: 1 is the conditional model itself, 0 the unconditional one."""


def token_times(num_steps: int) -> Float[np.ndarray, " time"]:
    """N + 1 evenly spaced times from 1 to 0, N >= 1."""
    if num_steps < 1:
        raise UsageError(f"expected at least one sampling step, got {num_steps}: pass --num-steps 64, say")
    return np.linspace(1.0, 0.0, num_steps + 1, dtype=np.float32)


def draw_limit(process: CategoricalProcess, keys: Keys, shape: tuple[int, ...]) -> Int[Array, "batch *shape"]:
    """Initial noise of sampling, one example per key: all mask, or random tokens."""
    probs = jnp.broadcast_to(process.limit, (*shape, process.num_states))
    return jax.vmap(draw_states, in_axes=(0, None))(keys, probs)


def ancestral(process: CategoricalProcess) -> TokenSolver:
    """Ancestral sampling; example i depends on ``keys[i]`` alone. Where times end at 0, so does all noise.

    Reference:
        Austin et al. 2021, equation 4; for the mask Sahoo et al., "Simple and Effective Masked Diffusion Language
        Models", 2024, section 3.4.

    >>> from aigc_jax.processes.discrete import absorbing
    >>> from aigc_jax.rng import example_keys
    >>> process, keys = absorbing(2), example_keys(jax.random.key(0), 1)
    >>> denoise = lambda x_t, t, condition: jnp.full((*x_t.shape, 2), jnp.array([0.0, 99.0]))
    >>> ancestral(process)(denoise, draw_limit(process, keys, (3,)), jnp.asarray(token_times(4)), keys, None)
    Array([[1, 1, 1]], dtype=int32)
    """

    def solve(denoise: LogitsFn, x: Array, times: Array, keys: Keys, condition: Condition) -> Array:
        def step(x_t: Array, interval: tuple[Array, Array, Array]) -> tuple[Array, None]:
            number, *ends = interval
            t, s = (jnp.full(x_t.shape[:1], end) for end in ends)
            log_probs = process.mask_impossible_logits(denoise(x_t, t, condition), x_t, t)
            step_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)
            return jax.vmap(draw_states)(step_keys, process.reverse(log_probs, x_t, s, t)), None

        return jax.lax.scan(step, x, (jnp.arange(times.shape[0] - 1), times[:-1], times[1:]))[0]

    return solve
