"""Curves and histograms as SVG that stands inside a page and takes its colours from it, by day and by night.

Only axes and marks are drawn; titles and the legend are text of the page, which wraps on a phone.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from aigc_jax.report.figures import Histogram, Lines, Series
from aigc_jax.report.formatting import format_distance, format_share
from aigc_jax.report.html.markup import anchor, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_COLOURS = 6
"""Colours of the page for curves, told apart by the colour-blind in both themes; further curves differ by dashes."""

_INK, _SOFT, _FAINT, _CURVE = "#0a0c01", "#0a0c02", "#0a0c03", "#0a0b{:02x}"
"""What matplotlib is told; the page's own colours take their place."""

_DASHES = ((), (5.0, 2.0), (1.5, 1.5), (7.0, 2.0, 1.5, 2.0), (3.0, 3.0), (9.0, 3.0))
_MARKERS = "os^DvP"
_FLOOR_DASHES = ((4.0, 2.5), (1.0, 2.0), (6.0, 2.0, 1.0, 2.0), (9.0, 2.0))
_MAX_MARKED, _MAX_ERROR_BARS, _CELLS = 25, 12, 300
_MAX_POINTS = 2400
"""Points of a whole picture, the ends of intervals included: it shall stay below 60 kB."""
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "aigc_jax",
    "font.family": "DejaVu Sans",
    "font.size": 11.5,
    "lines.scale_dashes": False,
    "text.parse_math": False,
    "axes.edgecolor": _SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
}


class Key(NamedTuple):
    """One entry of a legend.

    Attributes:
        name: what it stands for.
        sign: how it looks, as SVG.
    """

    name: str
    sign: str


class Drawing(NamedTuple):
    """A picture and its legend.

    Attributes:
        svg: the picture; "" where there is nothing to draw.
        keys: the legend.
    """

    svg: str
    keys: Sequence[Key]


def draw(figure: Lines | Histogram) -> Drawing:
    """Draw curves or distributions; the same figure gives the same bytes.

    Args:
        figure: what to draw.

    Returns:
        SVG for the inside of an HTML page: its colours are the page's ``--c0`` ... ``--c5``, ``--text``, ``--soft``
        and ``--line``, its letters the page's, its ids begin with the figure's name.

    >>> drawing = draw(Lines("rate", "Rate", "", "steps", "rate", [Series("ddim", [1, 2], [0.5, 0.25])]))
    >>> drawing.svg[:4], drawing.keys[0].name
    ('<svg', 'ddim')
    """
    if isinstance(figure, Lines):
        keys = [*map(_curve_key, range(len(figure.series)), figure.series), *_floor_keys(figure)]
        values = [_array(series.y) for series in figure.series]
        is_empty = not any(np.isfinite(value).any() for value in values)
        plot: Callable[[Axes], None] = lambda axes: _plot_lines(axes, figure)  # noqa: E731
    else:
        keys = [Key(name, _sign(i, is_filled=True)) for i, name in enumerate(figure.shares)]
        marks = enumerate(figure.marks.items())
        keys += [Key(f"{name}: {format_distance(float(value))}", _floor_sign(i)) for i, (name, value) in marks]
        is_empty = not figure.shares
        plot = lambda axes: _plot_histogram(axes, figure)  # noqa: E731
    return Drawing("" if is_empty else _render(plot, anchor(figure.name), figure.title), keys)


def _render(plot: Callable[[Axes], None], prefix: str, title: str) -> str:
    # Here and not above: it takes most of a second, and no other command needs it.
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        canvas = FigureCanvasSVG(Figure((4.4, 2.8), layout="constrained"))
        plot(canvas.figure.add_subplot())
        content = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.figure.savefig(content, format="svg", transparent=True, metadata=nothing)
    return _for_page(content.getvalue(), prefix, title)


def _for_page(svg: str, prefix: str, title: str) -> str:
    """A picture of its own as a part of a page."""
    view = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    # This style would hold for the whole page.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*;", r"font-size: \1;", body)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{prefix}-", body)
    body = body.replace("xlink:href", "href")
    body = re.sub("#0a0b([0-9a-f]{2})", lambda match: f"var(--c{int(match[1], 16)})", body)
    for sentinel, colour in ((_INK, "text"), (_SOFT, "soft"), (_FAINT, "line")):
        body = body.replace(sentinel, f"var(--{colour})")
    # Places, to a hundredth of a point; not the numbers of the axes, which stand between the tags.
    body = re.sub(r"<[^>]*>", lambda match: re.sub(r"(\d\.\d\d)\d+", r"\1", match[0]), re.sub(r"\s*\n\s*", " ", body))
    start = tag("svg", class_="plot", role="img", aria_label=title).removesuffix("></svg>")
    return f"{start} {view[0] if view else ''}>{body.strip()}"


def _plot_lines(axes: Axes, figure: Lines) -> None:
    if figure.is_log_x:
        axes.set_xscale("log", nonpositive="mask")
    num_lines = sum(3 if len(series.low) else 1 for series in figure.series)
    for index, series in enumerate(figure.series):
        _plot_series(axes, series, index, is_log=figure.is_log_x, max_points=_MAX_POINTS // max(num_lines, 1))
    for index, value in enumerate(figure.floors.values()):
        axes.axhline(value, color=_INK, linewidth=1.1, linestyle=(0, _FLOOR_DASHES[index % len(_FLOOR_DASHES)]))
    if figure.diagonal:
        axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (1, 2)))
    _name_ticks(axes, figure)


def _plot_series(axes: Axes, series: Series, index: int, *, is_log: bool, max_points: int) -> None:
    x, y = _array(series.x), _array(series.y)
    shown = _thinned(np.where(x > 0, np.log(np.where(x > 0, x, 1)), np.nan) if is_log else x, y, max_points)
    colour = _colour(index)
    if len(series.low) and len(series.high):
        low, high = _array(series.low)[shown], _array(series.high)[shown]
        if shown.sum() > _MAX_ERROR_BARS:
            axes.fill_between(x[shown], low, high, color=colour, alpha=0.22, linewidth=0)
        else:
            axes.vlines(x[shown], low, high, colors=colour, linewidth=1.1)
    has_markers = shown.sum() <= _MAX_MARKED
    marker = _MARKERS[index % len(_MARKERS)] if has_markers else None
    dashes = _dashes(index)
    style: Any = (0, dashes) if dashes else "solid"
    axes.plot(x[shown], y[shown], color=colour, linewidth=1.7, linestyle=style, marker=marker, markersize=4.5)


def _plot_histogram(axes: Axes, figure: Histogram) -> None:
    from matplotlib.ticker import FuncFormatter

    for index, values in enumerate(figure.shares.values()):
        colour, dashes = _colour(index), _dashes(index)
        axes.stairs(_array(values), _array(figure.edges), fill=True, color=colour, alpha=0.16)
        style: Any = (0, dashes) if dashes else "solid"
        axes.stairs(_array(values), _array(figure.edges), color=colour, linewidth=1.6, linestyle=style)
    for index, value in enumerate(figure.marks.values()):
        axes.axvline(value, color=_INK, linewidth=1.1, linestyle=(0, _FLOOR_DASHES[index % len(_FLOOR_DASHES)]))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))


def _name_ticks(axes: Axes, figure: Lines) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    if figure.is_share:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.03 * (high - low)), min(high, 1 + 0.03 * (high - low)))
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
    if figure.is_log_x:
        places = sorted({float(value) for series in figure.series for value in series.x if value > 0})
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if _are_apart(places):
            axes.set_xticks(places)
        else:
            is_short = bool(places) and places[-1] < 100 * places[0]
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_short else (1,)))
    elif figure.diagonal and figure.is_share:
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))


def _are_apart(places: Sequence[float]) -> bool:
    """Whether each of these places of a logarithmic axis has room for its number."""
    if not 1 <= len(places) <= 8:
        return False
    logs = np.log(places)
    return bool(len(places) == 1 or np.diff(logs).min() > 0.1 * (logs[-1] - logs[0]))


def _percent_tick(value: float, _: int | None) -> str:
    return f"{100 * value:.6g} %"


def _colour(index: int) -> str:
    return _CURVE.format(index % NUM_COLOURS)


def _dashes(index: int) -> tuple[float, ...]:
    """A colour that comes again has other dashes: so 36 curves differ."""
    return _DASHES[(index + index // NUM_COLOURS) % len(_DASHES)]


def _array(values: Any) -> Float[np.ndarray, " num"]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _thinned(x: Float[np.ndarray, " num"], y: Float[np.ndarray, " num"], max_points: int) -> Bool[np.ndarray, " num"]:
    """Which points to draw: of neighbours that no eye tells apart, the first; of too many still, an even part."""
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


def _curve_key(index: int, series: Series) -> Key:
    return Key(series.name, _sign(index, is_marked=len(series.x) <= _MAX_MARKED))


def _floor_keys(figure: Lines) -> list[Key]:
    number = format_share if figure.is_share else format_distance
    keys = [Key(f"{name}: {number(float(v))}", _floor_sign(i)) for i, (name, v) in enumerate(figure.floors.items())]
    return keys + ([Key(figure.diagonal, _stroke("soft", (1.0, 2.0)))] if figure.diagonal else [])


def _floor_sign(index: int) -> str:
    return _stroke("text", _FLOOR_DASHES[index % len(_FLOOR_DASHES)])


_SHAPES = {
    "o": '<circle cx="14" cy="6" r="3.2"/>',
    "s": '<path d="M11 3h6v6h-6z"/>',
    "^": '<path d="M14 2.2l3.8 7h-7.6z"/>',
    "D": '<path d="M14 1.8l4.2 4.2-4.2 4.2-4.2-4.2z"/>',
    "v": '<path d="M14 9.8l3.8-7h-7.6z"/>',
    "P": '<path d="M12.6 2h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z"/>',
}


def _sign(index: int, *, is_marked: bool = False, is_filled: bool = False) -> str:
    shape = _SHAPES[_MARKERS[index % len(_MARKERS)]] if is_marked else ""
    return _stroke(f"c{index % NUM_COLOURS}", _dashes(index), shape, is_filled=is_filled)


def _stroke(colour: str, dashes: Sequence[float], shape: str = "", *, is_filled: bool = False) -> str:
    """A short piece of a line, as the curves have it."""
    pattern = f' stroke-dasharray="{" ".join(f"{dash:g}" for dash in dashes)}"' if dashes else ""
    area = '<path d="M0 6h28v6h-28z" fill-opacity=".16"/>' if is_filled else ""
    return (
        f'<svg class="sign" viewBox="0 0 28 12" aria-hidden="true" style="fill:var(--{colour});'
        f'stroke:var(--{colour})">{area}<path d="M0 6h28" stroke-width="2"{pattern}/>{shape}</svg>'
    )
