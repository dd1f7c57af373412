"""Points of the plane as data, and as a picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

REACH = 2.5
"""Half the side of a picture: data are of about unit variance."""


class PointSource:
    """Examples from an array of points.

    Attributes:
        points: float32 [N, D].
        labels: int32 [N], or None: then examples have no ``label``.

    >>> PointSource(np.zeros((3, 2), np.float32), np.array([7, 8, 9])).take(np.array([2, 0]))["label"]
    array([9, 7], dtype=int32)
    """

    def __init__(self, points: Float[np.ndarray, "num channel"], labels: Int[np.ndarray, " num"] | None) -> None:
        self.points = points.astype(np.float32)
        self.labels = None if labels is None else labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: Int[np.ndarray, " batch"]) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as one batch."""
        batch = {"point": self.points[indices]}
        return batch if self.labels is None else {**batch, "label": self.labels[indices]}


def scatter(
    points: Float[np.ndarray, "num 2"],
    labels: Int[np.ndarray, " num"] | None = None,
    *,
    real: Float[np.ndarray, "num_real 2"] | None = None,
    reach: float = REACH,
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture of points.

    Args:
        points: the points; those beyond the frame are drawn as crosses on it, and counted in the title, NaN too.
        labels: the condition of each, drawn as its colour; None for one colour.
        real: points of the data, drawn in grey behind.
        reach: the frame goes from -reach to reach.

    Returns:
        One RGB image.

    >>> scatter(np.zeros((1, 2), np.float32)).shape
    (480, 480, 3)
    """
    # matplotlib is slow to import, and of no use to most commands.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.8), dpi=100, layout="tight")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    if real is not None:
        axes.scatter(*real.T, s=4, color="0.8", linewidths=0)
    is_far = ~(np.abs(points).max(axis=1) <= reach)
    colours = np.zeros(len(points)) if labels is None else labels % 10 + 0.5
    style = {"cmap": "tab10", "vmin": 0.0, "vmax": 10.0}
    axes.scatter(*points[~is_far].T, s=4, c=colours[~is_far], linewidths=0, **style)
    is_placed = is_far & ~np.isnan(points).any(axis=1)
    far = np.clip(points[is_placed], -reach, reach)
    axes.scatter(*far.T, s=30, c=colours[is_placed], marker="x", clip_on=False, **style)
    axes.set_title(f"{len(points)} samples" + (f", {is_far.sum()} beyond the frame" if is_far.any() else ""))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
