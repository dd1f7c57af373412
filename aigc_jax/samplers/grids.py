"""Time grids: the N + 1 times, from the noise to the data, at which a solver stops.

Every grid begins at ``process.t_max`` and ends at the time without noise where the process has one, at
``process.t_min`` otherwise. In between the grids spread their points evenly in different clocks. A process whose noise
level sigma / alpha is infinite at its beginning or 0 at its end has neither a logarithm nor a power there: the clock
then runs between ``sigma_max`` and ``sigma_min``, and the ends are put at their exact times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.processes.gaussian import Process
from aigc_jax.types import UsageError

GridFn = Callable[[Process, int], Array]
"""``(process, num_steps) -> times`` [num_steps + 1], decreasing."""

GridName = Literal["uniform", "karras", "logsnr"]
"""The grids by name, as in configs."""


def uniform() -> GridFn:
    """Equal steps in t; if the time without noise lies before ``t_min`` (EDM), the last step joins the two.

    >>> from aigc_jax.processes.gaussian import rectified_flow
    >>> uniform()(rectified_flow(), 4)
    Array([1.  , 0.75, 0.5 , 0.25, 0.  ], dtype=float32)
    """

    def grid(process: Process, num_steps: int) -> Array:
        end = end_time(process)
        if end == process.t_min:
            return jnp.linspace(process.t_max, end, num_steps + 1)
        return jnp.append(jnp.linspace(process.t_max, process.t_min, num_steps), end)

    return _now(grid)


def karras(rho: float = 7.0, *, sigma_min: float = 0.002, sigma_max: float = 200.0) -> GridFn:
    """Equal steps in (sigma / alpha)^(1 / rho): the larger rho, the more of them near the data.

    Args:
        rho: > 0; 7 in the paper.
        sigma_min: the smallest noise level on the grid before the exact end.
        sigma_max: the largest after the exact beginning. Both apply only where the process itself goes further.

    Reference:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, equation 5.

    >>> from aigc_jax.processes.gaussian import edm
    >>> [round(float(t), 3) for t in karras()(edm(), 3)]
    [80.0, 2.515, 0.002, 0.0]
    """
    if not rho > 0:
        raise UsageError(f"expected rho > 0, got {rho}: 7 in the EDM paper")

    def spread(high: Array, low: Array, share: Array) -> Array:
        return karras_spread(high, low, share, rho)

    return _noise_level_grid(spread, sigma_min, sigma_max)


def karras_spread(high: Array, low: Array, share: Array, rho: float = 7.0) -> Array:
    """Noise levels from ``high`` to ``low`` (may be 0) at a ``share`` in [0, 1] of the way in their power 1 / rho."""
    start, end = high ** (1 / rho), low ** (1 / rho)
    return (start + share * (end - start)) ** rho


def logsnr(*, sigma_min: float = 0.002, sigma_max: float = 200.0) -> GridFn:
    """Equal steps in the log signal-to-noise ratio, the clock of DPM-Solver; arguments as for :func:`karras`.

    Reference:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling", 2022, section 3.4.

    >>> from aigc_jax.processes.gaussian import edm
    >>> [round(float(t), 3) for t in logsnr()(edm(), 3)]
    [80.0, 0.4, 0.002, 0.0]
    """
    return _noise_level_grid(lambda high, low, share: high * (low / high) ** share, sigma_min, sigma_max)


def _noise_level_grid(spread: Callable[[Array, Array, Array], Array], sigma_min: float, sigma_max: float) -> GridFn:
    """A grid that is even in a function of the noise level; ``spread(high, low, share)`` runs from high to low."""
    if not 0 < sigma_min < sigma_max:
        raise UsageError(f"expected 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}: use 0.002 and 200")

    def grid(process: Process, num_steps: int) -> Array:
        high = jnp.minimum(process.noise_ratio(process.t_max), sigma_max)
        low = jnp.maximum(process.noise_ratio(process.t_min), sigma_min)
        end = end_time(process)
        is_clean = process.sigma(end) == 0
        num_points = num_steps if is_clean else num_steps + 1
        times = process.time_at(spread(high, low, jnp.linspace(0.0, 1.0, num_points)))
        times = times.at[0].set(process.t_max)
        return jnp.append(times, end) if is_clean else times.at[-1].set(process.t_min)

    return _now(grid)


def _now(grid: GridFn) -> GridFn:
    """A grid that is evaluated at once, also under jit: its length depends on the process's ends."""

    def checked(process: Process, num_steps: int) -> Array:
        if num_steps < 1:
            raise UsageError(f"expected num_steps >= 1, got {num_steps}: 20 suffice for most solvers")
        with jax.ensure_compile_time_eval():
            times = grid(process, num_steps)
            if not (jnp.diff(times) < 0).all():
                raise UsageError(f"{num_steps} steps are more than float32 can resolve on this grid: take fewer")
            return times

    return checked


def end_time(process: Process) -> Float[Array, ""]:
    """End of every grid: the time without noise; ``t_min`` where there is no finite one."""
    t_min, clean = jnp.asarray(process.t_min), process.time_at(0.0)
    return jnp.where((process.sigma(t_min) > 0) & jnp.isfinite(clean), clean, t_min)
