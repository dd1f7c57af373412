"""Curves and histograms as paths of an SVG picture, which the page draws in its own colours.

Not by matplotlib: its pictures are four times as large, and cannot follow the theme of the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from aigc_jax.report.figures import Histogram, Lines, Series
from aigc_jax.report.formatting import format_distance, format_share

NUM_COLORS = 6
"""Colours of the style sheet, ``--c0`` ... ``--c5``; further curves differ by dashes."""

WIDTH, HEIGHT = 320, 200
_TOP, _RIGHT, _BOTTOM, _LETTER = 8.0, 308.0, 180.0, 6.8

_DASHES = ("", "5 2", "1.5 1.5", "7 2 1.5 2", "3 3", "9 3")
_LEVEL_DASHES = ("4 2.5", "1 2", "6 2 1 2", "9 2")
_MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "m-3-3h6v6h-6z",
    "m0-3.8l3.8 7h-7.6z",
    "m0-4l4 4-4 4-4-4z",
    "m0 3.8l3.8-7h-7.6z",
    "m-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
)
_MAX_MARKED, _MAX_ERROR_BARS, _CELLS = 25, 12, 300
_MAX_POINTS = 2400
"""Points of a whole picture, the ends of intervals included."""


class Curve(NamedTuple):
    """A line of the picture and its entry in the legend: SVG paths, "" for none."""

    name: str
    color: str
    """A variable of the style sheet: "c0" ... "c5", "text" or "soft"."""
    dashes: str
    line: str
    area: str = ""
    """The band of its interval, or the area below it."""
    bars: str = ""
    markers: str = ""
    marker: str = ""
    """One marker, relative to its centre."""


class Plot(NamedTuple):
    """A picture of :data:`WIDTH` x :data:`HEIGHT`: its left border, places and labels of ticks, and curves."""

    left: float
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    curves: Sequence[Curve]


class _Axis(NamedTuple):
    """A map from the values between two ends to two places; logarithms take the place of values where ``is_log``."""

    ends: tuple[float, float]
    places: tuple[float, float]
    is_log: bool = False

    def __call__(self, values: Any) -> Float[np.ndarray, " num"]:
        return np.interp(_scaled(values, self.is_log), self.ends, self.places)


def plot(figure: Lines | Histogram) -> Plot | None:
    """The picture of curves or distributions; None where there is nothing to draw."""
    return _histogram(figure) if isinstance(figure, Histogram) else _lines(figure)


def _lines(figure: Lines) -> Plot | None:
    diagonal = [0.0, 1.0] if figure.diagonal else []
    if not any(np.isfinite(_array(series.y)).any() for series in figure.series):
        return None
    xs = [value for series in figure.series for value in series.x]
    ys = [value for series in figure.series for value in (*series.y, *series.low, *series.high)]
    low, high = _ends(_array([*ys, *figure.floors.values(), *diagonal]), 0.05)
    if figure.is_share:
        low, high = max(low, -0.03 * (high - low)), min(high, 1 + 0.03 * (high - low))
    y_ticks = _ticks(low, high, figure.is_share)
    left = _left(y_ticks)
    x = _Axis(_ends(_scaled([*xs, *diagonal], figure.is_log_x), 0.04), (left, _RIGHT), figure.is_log_x)
    y = _Axis((low, high), (_BOTTOM, _TOP))
    num_lines = sum(3 if len(series.low) else 1 for series in figure.series)
    curves = [_curve(s, i, x, y, _MAX_POINTS // max(num_lines, 1)) for i, s in enumerate(figure.series)]
    number = format_share if figure.is_share else format_distance
    for i, (name, value) in enumerate(figure.floors.items()):
        line = f"M{left:.1f} {y([value])[0]:.1f}H{_RIGHT:.1f}"
        curves.append(Curve(f"{name}: {number(float(value))}", "text", _LEVEL_DASHES[i % len(_LEVEL_DASHES)], line))
    if figure.diagonal:
        curves.append(Curve(figure.diagonal, "soft", "1 2", _path(x(diagonal), y(diagonal))))
    if figure.is_log_x:
        x_ticks = _log_ticks(sorted({float(value) for value in xs if value > 0}), x.ends)
    else:
        x_ticks = _ticks(*x.ends, bool(figure.diagonal) and figure.is_share)
    return Plot(left, _placed(x_ticks, x), _placed(y_ticks, y), curves)


def _histogram(figure: Histogram) -> Plot | None:
    if not figure.shares:
        return None
    edges = _array(figure.edges)
    high = max(float(np.nanmax(_array(values), initial=0.0)) for values in figure.shares.values()) or 1.0
    y_ticks = _ticks(0.0, 1.05 * high, True)
    left = _left(y_ticks)
    x = _Axis(_ends(_array([*figure.edges, *figure.marks.values()]), 0.02), (left, _RIGHT))
    y = _Axis((0.0, 1.05 * high), (_BOTTOM, _TOP))
    curves = []
    for i, (name, values) in enumerate(figure.shares.items()):
        line = _path(x(np.repeat(edges, 2)), y([0.0, *np.repeat(_array(values), 2), 0.0]))
        curves.append(Curve(name, f"c{i % NUM_COLORS}", _dashes(i), line, area=line))
    for i, (name, value) in enumerate(figure.marks.items()):
        line = f"M{x([value])[0]:.1f} {_BOTTOM:.1f}V{_TOP:.1f}"
        dashes = _LEVEL_DASHES[i % len(_LEVEL_DASHES)]
        curves.append(Curve(f"{name}: {format_distance(float(value))}", "text", dashes, line))
    return Plot(left, _placed(_ticks(*x.ends, False), x), _placed(y_ticks, y), curves)


def _curve(series: Series, index: int, x: _Axis, y: _Axis, max_points: int) -> Curve:
    shown = _thinned(_scaled(series.x, x.is_log), _array(series.y), max_points)
    across, up = x(_array(series.x)[shown]), y(_array(series.y)[shown])
    area = bars = ""
    if len(series.low) and len(series.high):
        low, high = (np.where(np.isfinite(up), y(_array(end)[shown]), np.nan) for end in (series.low, series.high))
        if len(across) > _MAX_ERROR_BARS:
            area = _path(np.append(across, across[::-1]), np.append(low, high[::-1]))
        else:
            bars = "".join(_path(np.array([a, a]), np.array([b, c])) for a, b, c in zip(across, low, high, strict=True))
    marker = _MARKERS[index % len(_MARKERS)] if len(across) <= _MAX_MARKED else ""
    is_finite = np.isfinite(across + up)
    markers = "".join(f"M{a:.1f} {b:.1f}{marker}" for a, b in zip(across[is_finite], up[is_finite], strict=True))
    color = f"c{index % NUM_COLORS}"
    return Curve(series.name, color, _dashes(index), _path(across, up), area, bars, markers if marker else "", marker)


def _path(x: Float[np.ndarray, " num"], y: Float[np.ndarray, " num"]) -> str:
    """A line through the points, with gaps where one is not finite."""
    words, is_gap = [], True
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(a + b):
            words.append(f"{'M' if is_gap else 'L'}{a:.1f} {b:.1f}")
        is_gap = not math.isfinite(a + b)
    return "".join(words)


def _ends(values: Float[np.ndarray, " num"], margin: float) -> tuple[float, float]:
    """The range of the finite values, with a margin on both sides."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    pad = margin * ((high - low) or abs(high) or 1.0)
    return low - pad, high + pad


def _ticks(low: float, high: float, is_share: bool) -> list[tuple[float, str]]:
    """Up to seven round values between two ends, and their labels."""
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power * 6 >= (high - low) * 0.999999)
    values = [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [(value, f"{100 * value:.6g} %" if is_share else f"{value:.6g}") for value in values]


def _log_ticks(values: Sequence[float], ends: tuple[float, float]) -> list[tuple[float, str]]:
    """The values of a logarithmic axis where each has room for its number, else powers of ten."""
    logs = np.log10(values)
    if len(values) > 8 or (len(values) > 1 and np.diff(logs).min() <= 0.1 * (logs[-1] - logs[0])):
        steps = (1, 2, 5) if ends[1] - ends[0] < 2 else (1,)
        powers = range(math.floor(ends[0]), math.floor(ends[1]) + 1)
        values = [s * 10.0**power for power in powers for s in steps if ends[0] <= power + math.log10(s) <= ends[1]]
    return [(value, f"{value:g}") for value in values]


def _placed(ticks: Sequence[tuple[float, str]], axis: _Axis) -> list[tuple[float, str]]:
    return [(float(place), label) for place, (_, label) in zip(axis([v for v, _ in ticks]), ticks, strict=True)]


def _left(y_ticks: Sequence[tuple[float, str]]) -> float:
    return 8 + _LETTER * max((len(label) for _, label in y_ticks), default=0)


def _dashes(index: int) -> str:
    """A colour that comes again has other dashes, so that 36 curves differ."""
    return _DASHES[(index + index // NUM_COLORS) % len(_DASHES)]


def _array(values: Any) -> Float[np.ndarray, " num"]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _scaled(values: Any, is_log: bool) -> Float[np.ndarray, " num"]:
    values = _array(values)
    return np.log10(np.where(values > 0, values, np.nan)) if is_log else values


def _thinned(x: Float[np.ndarray, " num"], y: Float[np.ndarray, " num"], max_points: int) -> Bool[np.ndarray, " num"]:
    """Which points to draw: the first of neighbours that fall into one cell; of too many still, every k-th."""
    cells = []
    for values in (x, y):
        finite = values[np.isfinite(values)]
        low, width = (finite.min(), np.ptp(finite) or 1.0) if finite.size else (0.0, 1.0)
        cells.append(np.floor((values - low) / width * _CELLS))
    corner = np.stack(cells)
    is_new = np.ones(len(x), bool)
    is_new[1:-1] = (corner[:, 1:-1] != corner[:, :-2]).any(axis=0)
    kept = np.flatnonzero(is_new)
    if len(kept) > max_points:
        is_new[:] = False
        is_new[kept[np.linspace(0, len(kept) - 1, max_points).astype(int)]] = True
    return is_new
