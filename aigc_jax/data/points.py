"""The point modality, and scatter plots of points of the plane."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from aigc_jax.data.export import write_npz
from aigc_jax.data.images import write_png
from aigc_jax.types import Modality, UsageError

REACH = 2.5
"""Half the side of a picture, for data of about unit variance."""


def scatter(
    points: Float[np.ndarray, "num 2"],
    labels: Int[np.ndarray, " num"] | None = None,
    *,
    real: Float[np.ndarray, "num_real 2"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Scatter plot of points as an RGB image: colours by label, data (``real``) in grey, limits :data:`REACH`.

    Points beyond the limits are crosses on the frame, counted in the title together with NaN.
    """
    # matplotlib is slow to import, and of no use to most commands.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.8), dpi=100, layout="tight")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    if real is not None:
        axes.scatter(*real.T, s=4, color="0.8", linewidths=0)
    is_far = ~(np.abs(points).max(axis=1) <= REACH)
    colours = np.zeros(len(points)) if labels is None else labels % 10 + 0.5
    style = {"cmap": "tab10", "vmin": 0.0, "vmax": 10.0}
    axes.scatter(*points[~is_far].T, s=4, c=colours[~is_far], linewidths=0, **style)
    is_placed = is_far & ~np.isnan(points).any(axis=1)
    far = np.clip(points[is_placed], -REACH, REACH)
    axes.scatter(*far.T, s=30, c=colours[is_placed], marker="x", clip_on=False, **style)
    axes.set_title(f"{len(points)} samples" + (f", {is_far.sum()} beyond the frame" if is_far.any() else ""))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _load(points: np.ndarray) -> Float[np.ndarray, "num channel"]:
    if points.ndim != 2 or not np.issubdtype(points.dtype, np.floating):
        raise UsageError(f"expected points as floats [N, D], got {points.dtype} {list(points.shape)}: convert them")
    return points.astype(np.float32)


def _show(
    stored: np.ndarray, ids: np.ndarray | None = None, names: Sequence[str] = (), *, real: np.ndarray | None = None
) -> np.ndarray | None:
    del names
    return scatter(stored, ids, real=real) if stored.shape[1:] == (2,) else None


def _write_picture(
    path: Path, blocks: Iterable[np.ndarray], ids: np.ndarray | None, *, num: int, names: Sequence[str] = ()
) -> None:
    del num
    stored = np.concatenate(list(blocks))
    picture = _show(stored, ids, names)
    if picture is None:
        raise UsageError(f"there is no picture of points of {stored.shape[1]} numbers: pass --out samples.npz")
    write_png(path, picture)


POINT = Modality(
    name="point",
    load=_load,
    store=lambda points: np.asarray(points, np.float32),
    show=_show,
    writers={".png": _write_picture, ".npz": functools.partial(write_npz, name="point")},
    distance=lambda points: points,
    num_shown=1000,
)
"""Points [D], float32 without limits."""
