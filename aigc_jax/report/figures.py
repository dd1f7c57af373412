"""What a report shows beside its numbers: curves, bars, histograms, matrices, tables and galleries, as plain data.

Nothing here knows how it is drawn: :mod:`aigc_jax.report.html.plots` draws it, ``report.json`` holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8


class Series(NamedTuple):
    """One curve.

    Attributes:
        name: what the legend says.
        x: where its points lie.
        y: their values; None is a gap.
        low: lower ends of their 95 % intervals; () for none.
        high: upper ends.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


class Lines(NamedTuple):
    """Curves over one axis.

    Attributes:
        name: its key, for scripts: "sampler_sweep".
        title: its heading.
        caption: how to read it, and what it says.
        x_title: what the horizontal axis is, with its unit.
        y_title: the vertical one.
        series: the curves.
        floors: horizontal lines by name: what real data reach, what chance gives.
        diagonal: name of the line from (0, 0) to (1, 1); "" for none.
        is_log_x: whether the horizontal axis is logarithmic.
        is_share: whether the values are shares, to be read in percent.
    """

    name: str
    title: str
    caption: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    floors: Mapping[str, float] = {}
    diagonal: str = ""
    is_log_x: bool = False
    is_share: bool = False


class Bar(NamedTuple):
    """One bar: a share and its 95 % interval.

    Attributes:
        name: what it is of.
        value: a share in [0, 1], None where there is none.
        low: lower end of the interval, or None.
        high: upper end, or None.
        n: number of samples.
        reference: the same share of real data, or None.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reference: float | None = None


class Bars(NamedTuple):
    """Shares side by side: a taxonomy of violations, a table of classes.

    Attributes:
        name: its key.
        title: its heading.
        caption: how to read it.
        bars: the rows, in order.
        reference_title: what the references are; "" where there are none.
    """

    name: str
    title: str
    caption: str
    bars: Sequence[Bar]
    reference_title: str = ""


class Histogram(NamedTuple):
    """Distributions of one number over two or three sets.

    Attributes:
        name: its key.
        title: its heading.
        caption: how to read it.
        x_title: what the number is.
        edges: of the bins [B + 1].
        shares: ``{set: share of its members in each bin [B]}``.
        marks: vertical lines by name: a threshold.
    """

    name: str
    title: str
    caption: str
    x_title: str
    edges: Sequence[float]
    shares: Mapping[str, Sequence[float]]
    marks: Mapping[str, float] = {}


class Matrix(NamedTuple):
    """Counts by condition (row) and what was seen (column).

    Attributes:
        name: its key.
        title: its heading.
        caption: how to read it.
        rows: names of the conditions.
        columns: names of what was seen.
        counts: numbers of samples [R, C].
        hatched: names of the rows that training data never showed.
    """

    name: str
    title: str
    caption: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    hatched: Sequence[str] = ()


class Table(NamedTuple):
    """Text in rows and columns.

    Attributes:
        name: its key.
        title: its heading.
        caption: how to read it.
        columns: their headings.
        rows: cells as people read them.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Gallery(NamedTuple):
    """Pictures with words below them: the worst samples, the nearest training images.

    Attributes:
        name: its key.
        title: its heading.
        caption: how to read it.
        groups: each a row of pictures [N, H, W, C] (or [N, H, W, 3]) that belong together; all of one size.
        labels: the words of each picture, one list per group; [] for none.
        titles: the words before each group; () for none.
    """

    name: str
    title: str
    caption: str
    groups: Sequence[UInt8[np.ndarray, "num height width channel"]]
    labels: Sequence[Sequence[str]]
    titles: Sequence[str] = ()


Figure = Lines | Bars | Histogram | Matrix | Table | Gallery
"""Anything that a report shows."""


def figure_json(figure: Figure) -> dict[str, Any]:
    """A figure as plain JSON values, with its ``kind``; the pixels of a gallery are left to the page.

    Args:
        figure: the figure.

    Returns:
        ``{"kind", "name", "title", "caption", ...}``.

    >>> figure_json(Bars("violations", "Violations", "", [Bar("blank", 0.5)]))["bars"][0]["value"]
    0.5
    """
    values = {key: plain(value) for key, value in figure._asdict().items() if key != "groups"}
    return {"kind": type(figure).__name__.lower(), **values}


def plain(value: Any) -> Any:
    """Lists, dicts, numbers and text; a number that is none becomes None, since JSON has no NaN.

    >>> plain((np.float64("nan"), {"n": np.int64(3)}))
    [None, {'n': 3}]
    """
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
