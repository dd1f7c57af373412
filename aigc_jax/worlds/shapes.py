"""World of simple shapes in columns: at most one of each kind, in its own column, at any place and in several sizes.

The world in which Aithal et al., "Understanding Hallucinations in Diffusion Models through Mode Interpolation", 2024,
section 4, found models that draw two of a kind. Here every legal picture of a column is listed, so that membership is
decided exactly: 728 per shape by default, and 729^3 - 1 = 387,420,488 images (28.5 bits).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from aigc_jax.types import UsageError, World
from aigc_jax.worlds.columns import denoiser, explainer, make_columns, nearest_mode, sampler
from aigc_jax.worlds.modes import log_of, mode_weights
from aigc_jax.worlds.renderings import MARGIN

TOLERANCE = 8
"""Wrong pixels in a column that still count as a shape. Different kinds differ in at least 40, so that up to 19 are
unambiguous; a part of a shape differs from a whole one in more than 8."""

VIOLATIONS = ("valid", "wrong count", "wrong place", "malformed", "blank")
"""No violation; two of a kind; a shape in the column of another; no shape; nothing.

An image with several of these is malformed first, and of a wrong count next."""


def shapes(
    columns: Sequence[str] = ("triangle", "square", "pentagon"),
    *,
    image_size: int = 64,
    sizes: Sequence[int] = (15, 17, 19),
    weights: Sequence[float] | None = None,
    tolerance: int = TOLERANCE,
    margin: float = MARGIN,
    name: str = "world:shapes",
) -> World:
    """World of shapes in columns; its modes are the 2^C - 1 non-empty sets of present shapes.

    Args:
        columns: the shape of each, all different.
        image_size: pixels a side.
        sizes: of the shapes, in pixels; every place and size of a shape is equally likely.
        weights: probabilities of the modes: mode m shows shape c where bit c of m + 1 is 1. None for equal ones.
        tolerance: wrong pixels in a column that still count as a shape.
        margin: pixels of [-1, 1] between this and minus this are grey, which is wrong.
        name: of the world.

    Returns:
        The world; its examples are float32 [N, image_size, image_size, 1].

    Raises:
        UsageError: impossible columns or tolerance.

    >>> import jax
    >>> world = shapes()
    >>> images = world.sample(jax.random.key(0), 2, jnp.array([0, 6]))
    >>> images.shape, world.mode(images).tolist(), world.violation(-jnp.ones_like(images)).tolist()
    ((2, 64, 64, 1), [0, 6], [4, 4])
    """
    if len(set(columns)) != len(columns) or not columns:
        raise UsageError(f"expected one or more columns of different shapes, got {', '.join(columns) or 'none'}")
    frames = make_columns(columns, image_size, sizes, tolerance=tolerance, margin=margin)
    num_modes, num_columns = frames.is_present.shape
    shares = mode_weights(num_modes, weights)
    explain = explainer(frames, tolerance, margin, max_shapes=image_size // min(sizes))

    def violation(x: Float[Array, "num height width 1"]) -> Int[Array, " num"]:
        counts, is_clear = explain(x)
        is_foreign = jnp.any(jnp.where(jnp.eye(num_columns, dtype=bool)[None], 0, counts) > 0, axis=(1, 2))
        is_repeated = jnp.any(counts.sum(axis=1) > 1, axis=1)
        is_blank = ~jnp.any(counts > 0, axis=(1, 2))
        found = jnp.where(is_repeated, 1, jnp.where(is_foreign, 2, jnp.where(is_blank, 4, 0)))
        return jnp.where(is_clear, found, 3).astype(jnp.int32)

    def read(x: Float[Array, "num height width 1"]) -> dict[str, Int[Array, " num"]]:
        counts, is_clear = explain(x)
        shown = jnp.where(is_clear[:, None], jnp.minimum(counts.sum(axis=1), 1), -1)
        return {shape: shown[:, column] for column, shape in enumerate(columns)}

    return World(
        name,
        num_modes,
        shares,
        VIOLATIONS,
        sample=sampler(frames, log_of(shares)),
        violation=violation,
        mode=nearest_mode(frames),
        modality="image",
        denoise=denoiser(frames, log_of(shares)),
        attributes={shape: ("absent", "present") for shape in columns},
        mode_attributes={shape: frames.is_present[:, c].astype(np.int32) for c, shape in enumerate(columns)},
        read=read,
    )
