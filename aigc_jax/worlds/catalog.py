"""Worlds by name."""

from __future__ import annotations

from collections.abc import Callable

from aigc_jax.types import UsageError, World
from aigc_jax.worlds.mixture import grid, ring

WORLDS: dict[str, Callable[[], World]] = {"ring8": ring, "grid25": grid}
"""``{name: constructor}``."""


def open_world(name: str) -> World:
    """A world by its name as data.

    Args:
        name: ``world:NAME``, one of :data:`WORLDS`.

    Returns:
        The world.

    Raises:
        UsageError: there is no such world.

    >>> open_world("world:ring8").num_modes
    8
    """
    kind, _, rest = name.partition(":")
    if kind != "world" or rest not in WORLDS:
        known = ", ".join(f"world:{name}" for name in WORLDS)
        raise UsageError(f"this experiment takes data of a world, {known}; got {name!r}: pass --data world:ring8")
    return WORLDS[rest]()
