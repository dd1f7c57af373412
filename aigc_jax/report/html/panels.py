"""The figures of a report as parts of its page."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import assert_never

import numpy as np
from jaxtyping import UInt8

from aigc_jax.data.images import to_png
from aigc_jax.report.figures import Bar, Bars, Figure, Gallery, Histogram, Lines, Matrix, Table
from aigc_jax.report.formatting import format_count_share, format_share
from aigc_jax.report.html.markup import anchor, scrolling, tag, text
from aigc_jax.report.html.plots import draw

SIDE = 56
"""Screen pixels that the shorter side of a small picture has at least."""

_LONG_NAME = 10
"""Letters of a name beside a bar; on a phone, longer ones stand above it."""

_HALF = 56
"""Letters in the rows of a table that has half of a desktop's width."""

_MAX_SHORT = 4
"""Groups of up to so many pictures stand side by side; longer ones of one length stand above each other, in columns."""


def panel(figure: Figure) -> str:
    """A figure with its title, its caption and a name to link to.

    Args:
        figure: what to show.

    Returns:
        Markup.

    >>> panel(Table("t", "Rates", "", ["sampler"], [["ddim"]]))[:50]
    '<figure class="panel" id="figure-t"><h3>Rates</h3>'
    """
    match figure:
        case Lines() | Histogram():
            content, is_wide = _plot(figure), False
        case Bars():
            content, is_wide = _bars(figure), False
        case Matrix():
            content, is_wide = scrolling(_matrix(figure), figure.title), len(figure.columns) > 14
        case Table():
            content, is_wide = scrolling(_table(figure), figure.title), _letters(figure) > _HALF
        case Gallery():
            content, is_wide = _gallery(figure), True
        case _:
            assert_never(figure)
    caption = tag("figcaption", text(figure.caption)) if figure.caption else ""
    name = "panel wide" if is_wide else "panel"
    return tag(
        "figure", tag("h3", text(figure.title)), content, caption, class_=name, id=f"figure-{anchor(figure.name)}"
    )


def _plot(figure: Lines | Histogram) -> str:
    drawing = draw(figure)
    if not drawing.svg:
        return tag("p", "There is nothing to draw.", class_="soft")
    keys = "".join(tag("li", key.sign, text(key.name)) for key in drawing.keys)
    y_title = figure.y_title if isinstance(figure, Lines) else "share of each set"
    return (
        tag("ul", keys, class_="legend")
        + (tag("p", text(y_title), class_="axis") if y_title else "")
        + drawing.svg
        + tag("p", text(figure.x_title), class_="axis x")
    )


def _bars(figure: Bars) -> str:
    """Rows of a table: the names wrap, the numbers can be read out, and the bars take what is left."""
    scale, has_reference = _scale(figure.bars), any(bar.reference is not None for bar in figure.bars)
    counts = {bar.n for bar in figure.bars}
    common = counts.pop() if len(counts) == 1 else None
    heads = [
        tag("th", scope="col"),
        tag("th", tag("span", "0"), tag("span", text(f"{100 * scale:g} %")), class_="bar", scope="col"),
        tag("th", text(f"share, n = {common}") if common else "share", scope="col"),
        *([tag("th", "real", scope="col")] if has_reference else []),
    ]
    rows = "".join(tag("tr", *_bar_row(bar, scale, common is None, has_reference)) for bar in figure.bars)
    keys = [tag("li", tag("span", class_="sign whisker"), "95 % interval")]
    if has_reference:
        keys.append(tag("li", tag("span", class_="sign mark"), text(figure.reference_title or "real data")))
    name = "bars named" if any(len(bar.name) > _LONG_NAME for bar in figure.bars) else "bars"
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", rows), class_=name)
    return tag("ul", *keys, class_="legend") + table


def _bar_row(bar: Bar, scale: float, has_n: bool, has_reference: bool) -> list[str]:
    value, interval, marks = "none", "", ""
    if bar.value is not None:
        value = format_count_share(bar.value, bar.n, bar.low, bar.high)
        marks = tag("i", style=f"width:{_place(bar.value, scale)}")
    if bar.low is not None and bar.high is not None:
        interval = f"{format_share(bar.low).removesuffix(' %')} to {format_share(bar.high)}"
        width = 100 * min(max(bar.high - bar.low, 0), scale) / scale
        marks += tag("s", style=f"left:{_place(bar.low, scale)};width:{width:.2f}%")
    if bar.reference is not None:
        marks += tag("b", style=f"left:{_place(bar.reference, scale)}")
    # A column of its own for n would be too much for a phone.
    small = ", ".join(part for part in (interval, f"n = {bar.n}" if has_n and bar.n else "") if part)
    reference = "" if bar.reference is None else format_share(bar.reference) if bar.reference else "none"
    return [
        tag("th", text(bar.name), scope="row"),
        tag("td", tag("div", marks), class_="bar"),
        tag("td", text(value), tag("small", text(small)) if small else ""),
        *([tag("td", reference)] if has_reference else []),
    ]


def _place(value: float, scale: float) -> str:
    return f"{100 * min(max(value / scale, 0), 1):.2f}%"


def _scale(bars: Sequence[Bar]) -> float:
    """Where the bars end: 1, 2 or 5 times a power of ten, and never more than all."""
    top = max((end for bar in bars for end in (bar.value, bar.high, bar.reference) if end is not None), default=1.0)
    if top > 0.5 or top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return min(float(f"{step * power:.6g}") for step in (1, 2, 5, 10) if step * power >= top * 0.999999)


def _matrix(figure: Matrix) -> str:
    head = "".join(tag("th", text(name), scope="col") for name in ["", *figure.columns])
    rows = "".join(_matrix_row(figure, name, counts) for name, counts in zip(figure.rows, figure.counts, strict=True))
    return tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_="matrix")


def _matrix_row(figure: Matrix, name: str, counts: Sequence[int]) -> str:
    total = max(sum(counts), 1)
    cells = [
        tag("td", str(count), **_shade(count / total, is_right=column == name))
        for column, count in zip(figure.columns, counts, strict=True)
    ]
    is_hatched = name in figure.hatched
    more = tag("small", "unseen") if is_hatched else ""
    return tag("tr", tag("th", text(name), more, scope="row"), *cells, class_="hatched" if is_hatched else None)


def _shade(share: float, *, is_right: bool) -> dict[str, str | None]:
    """The root of the share: a few errors shall be seen. Wrong places have a colour of their own."""
    if share <= 0:
        return {"class_": "none"}
    colour = "47,111,176" if is_right else "214,118,0"
    return {"style": f"background-color:rgba({colour},{0.08 + 0.47 * math.sqrt(share):.2f})"}


def _table(figure: Table) -> str:
    head = "".join(tag("th", text(name), scope="col") for name in figure.columns)
    rows = "".join(
        tag("tr", *(_cell(cell) if i else tag("th", text(cell), scope="row") for i, cell in enumerate(row)))
        for row in figure.rows
    )
    return tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))


def _letters(figure: Table) -> int:
    """How wide a table is."""
    return sum(max(map(len, column)) for column in zip_longest(figure.columns, *figure.rows, fillvalue=""))


def _cell(words: str) -> str:
    """Numbers stay on a line, sentences do not."""
    return tag("td", text(words), class_="long" if len(words) > 32 else None)


def _gallery(figure: Gallery) -> str:
    """Pictures that wrap on a phone; those that belong together stay together."""
    labels = [figure.labels[i] if i < len(figure.labels) else [] for i in range(len(figure.groups))]
    has_labels = any(words for group in labels for words in group)
    groups = [
        [_picture(image, words[i] if i < len(words) else "", has_labels) for i, image in enumerate(group)]
        for group, words in zip(figure.groups, labels, strict=True)
    ]
    lengths = {len(group) for group in groups}
    if len(groups) > 1 and len(lengths) == 1 and max(lengths) > _MAX_SHORT:
        order = f"From top to bottom: {', '.join(figure.titles)}." if figure.titles else ""
        columns = "".join(tag("li", *column) for column in zip(*groups, strict=True))
        return (tag("p", text(order), class_="soft") if order else "") + tag("ul", columns, class_="gallery strip")
    parts = [
        tag("div", tag("h4", text(title)) if title else "", tag("div", *group, class_="gallery"))
        for title, group in zip([*figure.titles, *[""] * len(groups)], groups, strict=False)
    ]
    is_short = len(groups) > 1 and max(lengths) <= _MAX_SHORT
    return tag("div", *parts, class_="gallery groups" if is_short else None)


def _picture(image: UInt8[np.ndarray, "height width channel"], label: str, has_labels: bool) -> str:
    height, width = image.shape[:2]
    # Whole multiples only: every pixel of the picture stays a square of the same size.
    scale = max(1, -(-SIDE // max(min(height, width), 1)))
    data = base64.b64encode(to_png(image)).decode("ascii")
    picture = tag(
        "img",
        alt=label or "picture",
        src=f"data:image/png;base64,{data}",
        width=str(scale * width),
        height=str(scale * height),
    )
    words = tag("span", text(label)) if label else ""
    return tag("div", picture, words, class_="picture", style=f"width:{max(scale * width, 72 if has_labels else 0)}px")
