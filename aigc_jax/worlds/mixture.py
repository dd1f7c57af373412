"""Mixtures by the places of their modes: lines, grids, rings, and a cross of axes in many dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.linalg import hadamard

from aigc_jax.types import UsageError, World
from aigc_jax.worlds.gaussian_mixture import gaussian_mixture

UNEQUAL_WEIGHTS = (0.3, 0.2, 0.15, 0.12, 0.1, 0.07, 0.04, 0.02)
"""Of ``world:unequal8``."""


def line(places: Sequence[float] = (1.0, 2.0, 3.0), *, scale: float = 0.05) -> World:
    """The world ``world:lineK``: modes on a line; by default those of Aithal et al. 2024, section 3, not normalised.

    >>> line((1.0, 2.0, 4.0, 5.0)).name
    'world:line4'
    """
    return gaussian_mixture(f"world:line{len(places)}", np.array(places)[:, None], scale)


def ring(
    num_modes: int = 8,
    *,
    radius: float = math.sqrt(2.0),
    scale: float | tuple[float, float] = 0.05,
    weights: Sequence[float] | None = None,
    name: str = "ring",
) -> World:
    """The world ``world:ringK``: K modes on a circle; by default of unit variance in each direction, but for their own.

    Args:
        num_modes: K >= 1.
        radius: of the circle.
        scale: standard deviation of a mode, > 0; two of them along the circle's radius and across it.
        weights: probabilities of the modes, counter-clockwise; None for equal ones.
        name: of the world, before its number of modes.

    >>> ring().name, ring().num_modes
    ('world:ring8', 8)
    """
    angle = 2.0 * np.pi * np.arange(num_modes) / num_modes
    outward = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    return gaussian_mixture(
        f"world:{name}{num_modes}",
        radius * outward,
        np.broadcast_to(scale, (num_modes, 2)),
        # Round modes have no axes: the identity leaves every bit of the noise as it is.
        axes=np.stack([outward, across], axis=2) if isinstance(scale, tuple) else None,
        weights=weights,
    )


def grid(
    side: int = 5,
    *,
    num_channels: int = 2,
    spacing: float = math.sqrt(0.5),
    scale: float = 0.05,
    name: str = "grid",
) -> World:
    """The world ``world:gridK``, K = side^num_channels: modes on a grid; by default a square of five a side.

    Args:
        side: modes a side, >= 1.
        num_channels: dimensions, >= 1.
        spacing: distance between neighbours; the default gives unit variance in each direction, but for the modes' own.
        scale: standard deviation of a mode, > 0.
        name: of the world, before its number of modes.

    >>> grid().name, grid(3, num_channels=3).num_modes
    ('world:grid25', 27)
    """
    ticks = spacing * (np.arange(side) - (side - 1) / 2)
    means = np.stack(np.meshgrid(*[ticks] * num_channels, indexing="ij"), axis=-1).reshape(-1, num_channels)
    return gaussian_mixture(f"world:{name}{len(means)}", means, scale)


def aithal_grid() -> World:
    """The world ``world:aithal25``, the grid of Aithal et al. 2024: five a side, spacing 2, scale 0.05, normalised.

    Its gaps are 40 standard deviations wide, those of :func:`grid` 14: more room for samples between modes.
    """
    deviation = math.sqrt(8.0 + 0.05**2)
    return grid(5, spacing=2.0 / deviation, scale=0.05 / deviation, name="aithal")


def cross(num_modes: int = 10, *, num_channels: int = 16, scale: float = 0.1) -> World:
    """The world ``world:mixtureD``: modes at both ends of orthogonal axes, oblique to the coordinates (Hadamard's).

    Its mean is 0 and its variance 1 in each coordinate, but for the modes' own.

    Args:
        num_modes: an even number from 2 to twice num_channels.
        num_channels: D, a power of 2.
        scale: standard deviation of a mode, > 0.

    >>> cross().name, cross().num_modes
    ('world:mixture16', 10)
    """
    is_power = num_channels >= 1 and num_channels & (num_channels - 1) == 0
    if not is_power or num_modes % 2 or not 2 <= num_modes <= 2 * num_channels:
        raise UsageError(
            f"expected a power of 2 as number of dimensions, and an even number of modes from 2 to twice that; got "
            f"{num_channels} dimensions and {num_modes} modes"
        )
    axes = hadamard(num_channels)[: num_modes // 2].astype(np.float64)
    return gaussian_mixture(f"world:mixture{num_channels}", np.concatenate([axes, -axes]), scale)
