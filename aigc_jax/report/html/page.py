"""The report as one HTML page that needs no other file, no script and no network; jinja2 escapes every text."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from aigc_jax.data.images import to_png
from aigc_jax.report.figures import Bar, Figure, Gallery, Matrix, Table, kind_of
from aigc_jax.report.formatting import (
    format_count_share,
    format_interval,
    format_reference,
    format_share,
    format_unit,
    format_value,
)
from aigc_jax.report.html.plots import HEIGHT, WIDTH, plot
from aigc_jax.report.measurements import CRITERION_TITLES, Measurement
from aigc_jax.report.schema import FORMAT, Report
from aigc_jax.report.verdicts import decision, in_words, summary, verdicts_of

SIDE = 56
"""Screen pixels that the shorter side of a small picture has at least."""

FIRST = ("first_samples", "worst")
"""Figures of the first screen."""

_WIDE = 56
"""Letters in the rows of a table that needs more than half of a desktop's width."""


def to_html(report: Report, *, title: str, grid: bytes | None = None) -> str:
    """A whole HTML document: criteria first, then measurements, figures, samples (a PNG), and recommendations."""
    return _template().render(report=report, title=title, grid=grid).lstrip()


def tables_to_html(tables: Sequence[Table | Gallery], *, title: str) -> str:
    """A page of tables alone."""
    return _template().render(report=None, title=title, figures=tables).lstrip()


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_keep_together,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "anchor": lambda name: re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-") or "part",
        "bar_details": _bar_details,
        "bar_value": lambda bar: format_count_share(bar.value, bar.n, bar.low, bar.high),
        "check": in_words,
        "groups": _groups,
        "interval": format_interval,
        "is_wide": _is_wide,
        "kind": kind_of,
        "pictures": _pictures,
        "place": lambda value, top: f"{100 * min(max(value / top, 0), 1):.2f}%",
        "plot": plot,
        "png_uri": _png_uri,
        "reference": format_reference,
        "scale": _scale,
        "share": format_share,
        "decision": decision,
        "summary": summary,
        "unit": format_unit,
        "value": format_value,
        "verdicts": verdicts_of,
    }
    environment.tests["longer_than"] = lambda words, num: len(words) > num
    environment.globals |= {
        "FIRST": FIRST,
        "criterion_titles": CRITERION_TITLES,
        "format": FORMAT,
        "width": WIDTH,
        "height": HEIGHT,
    }
    return environment.get_template("template.html")


def _keep_together(value: Any) -> Any:
    """A number stays on the line of its unit, or of what it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    joined = re.sub(r"\b([np]) ([=<]) (?=\d)", "\\1\N{NO-BREAK SPACE}\\2\N{NO-BREAK SPACE}", value)
    return joined.replace(" %", "\N{NO-BREAK SPACE}%")


def _groups(report: Report) -> list[tuple[str | None, str, str, list[Measurement]]]:
    """Name, title, kind of verdict and measurements of each criterion; at the end those that belong to none."""
    kinds = {criterion.name: verdict.kind for criterion, verdict in verdicts_of(report)}
    groups = []
    for name, title in [*CRITERION_TITLES.items(), (None, "Other measurements")]:
        rows = [row for row in report.measurements if row.criterion == name]
        if rows:
            groups.append((name, title, "" if name is None else kinds.get(name, ""), rows))
    return groups


def _png_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


class _Picture(NamedTuple):
    source: str
    label: str
    width: int
    height: int


def _pictures(figure: Gallery) -> list[list[_Picture]]:
    groups = []
    for images, labels in zip_longest(figure.groups, figure.labels, fillvalue=()):
        # Whole multiples only: every pixel of the picture stays a square of the same size.
        scales = [max(1, -(-SIDE // max(min(image.shape[:2]), 1))) for image in images]
        words = [*labels, *[""] * len(images)]
        groups.append(
            [
                _Picture(_png_uri(to_png(image)), words[i], scales[i] * image.shape[1], scales[i] * image.shape[0])
                for i, image in enumerate(images)
            ]
        )
    return groups


def _bar_details(bar: Bar, has_n: bool) -> str:
    """Interval and n; a column of its own for n would be too much for a phone."""
    interval = ""
    if bar.value is not None and bar.low is not None and bar.high is not None:
        interval = f"{format_share(bar.low).removesuffix(' %')} to {format_share(bar.high)}"
    return ", ".join(part for part in (interval, f"n = {bar.n}" if has_n and bar.n else "") if part)


def _scale(bars: Sequence[Bar]) -> float:
    """The share at which the axis of bars ends: 1, 2 or 5 times a power of ten, at most 1."""
    top = max((end for bar in bars for end in (bar.value, bar.high, bar.reference) if end is not None), default=1.0)
    if top > 0.5 or top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return min(float(f"{step * power:.6g}") for step in (1, 2, 5, 10) if step * power >= top * 0.999999)


def _is_wide(figure: Figure) -> bool:
    if isinstance(figure, Matrix):
        return len(figure.columns) > 14
    if isinstance(figure, Table):
        columns = zip_longest(figure.columns, *figure.rows, fillvalue="")
        return sum(max(map(len, column)) for column in columns) > _WIDE
    return kind_of(figure) in ("gallery", "texts")
