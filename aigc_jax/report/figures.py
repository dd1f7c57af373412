"""Figures of a report as plain data; ``docs/report.md`` describes each field.

A figure has a ``name`` (for scripts), a ``title`` and a ``caption`` (how to read it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8


class Series(NamedTuple):
    """One curve; a y of None is a gap. ``low`` and ``high`` are the ends of 95 % intervals, () for none."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


class Lines(NamedTuple):
    """Curves over one axis."""

    name: str
    title: str
    caption: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    floors: Mapping[str, float] = {}
    """Horizontal lines by name: the value of real data, or of chance."""
    diagonal: str = ""
    """Name of the line from (0, 0) to (1, 1); "" for none."""
    is_log_x: bool = False
    is_share: bool = False
    """Whether the values are printed in percent."""


class Bar(NamedTuple):
    """A share of n samples, its 95 % interval, and the same share of real examples; None where there is none."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reference: float | None = None


class Bars(NamedTuple):
    """Shares as bars: kinds of violations, or classes."""

    name: str
    title: str
    caption: str
    bars: Sequence[Bar]
    reference_title: str = ""


class Histogram(NamedTuple):
    """Distributions of one number over two or three sets."""

    name: str
    title: str
    caption: str
    x_title: str
    edges: Sequence[float]
    """Of the bins [B + 1]."""
    shares: Mapping[str, Sequence[float]]
    """``{set: share of its members in each bin [B]}``."""
    marks: Mapping[str, float] = {}
    """Vertical lines by name: a threshold."""


class Matrix(NamedTuple):
    """Counts [R, C] of samples by condition (row) and predicted class (column)."""

    name: str
    title: str
    caption: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    unseen: Sequence[str] = ()
    """Names of the rows that do not occur in the training data."""


class Table(NamedTuple):
    """Text in rows and columns."""

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Gallery(NamedTuple):
    """Pictures with labels: the worst samples, the nearest training images."""

    name: str
    title: str
    caption: str
    groups: Sequence[UInt8[np.ndarray, "num height width channel"]]
    """Each a row of pictures that belong together, grey or RGB; all of one size."""
    labels: Sequence[Sequence[str]]
    """One list per group, [] for none."""
    titles: Sequence[str] = ()
    """One per group, () for none."""


class Texts(NamedTuple):
    """Labelled texts: samples of a language model, sequences of tokens."""

    name: str
    title: str
    caption: str
    items: Sequence[tuple[str, str]]
    """Pairs of a label, "" for none, and a text."""
    shades: Sequence[Sequence[tuple[str, float]]] = ()
    """Of each text its parts in order with a depth of shade in [0, 1]; () for none."""


Figure = Lines | Bars | Histogram | Matrix | Table | Gallery | Texts
"""Any figure of a report."""


def kind_of(figure: Figure) -> str:
    """The name of its class in lower case: the ``kind`` of ``report.json``."""
    return type(figure).__name__.lower()


def figure_json(figure: Figure) -> dict[str, Any]:
    """A figure as plain JSON values; the pixels of a gallery are in the page alone."""
    values = {key: plain(value) for key, value in figure._asdict().items() if key != "groups"}
    return {"kind": kind_of(figure), **values}


def plain(value: Any) -> Any:
    """Lists, dicts, numbers and text; a number that is none becomes None, since JSON has no NaN."""
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
