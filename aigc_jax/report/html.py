"""The report as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

import base64
from html import escape

from aigc_jax.report.report import ClassRow, Measurement, Report
from aigc_jax.report.text import format_distance, format_share, format_value

_STYLE = """
:root { color-scheme: light dark; --text: #1c2126; --soft: #5c6670; --line: #dde2e6; --page: #fff;
  --bar: #2f6fb0; --track: #edf0f3; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --soft: #9aa5af; --line: #333b43; --page: #14181c; --bar: #6aa9e6; --track: #232a31; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 56rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0; }
.soft, small, th, dt { color: var(--soft); font-weight: normal; }
small { display: block; font-size: .85rem; line-height: 1.35; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1rem; padding: 0; margin: 0; }
.figure { list-style: none; border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  overflow-wrap: anywhere; }
.figure b { display: block; font-size: 1.7rem; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr;
  gap: .1rem 1rem; margin: .25rem 0 .5rem; font-size: .9rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; overflow-wrap: anywhere; }
td.bar { width: 40%; min-width: 4rem; }
.bar div { background: var(--track); border-radius: .2rem; }
.bar i { display: block; height: .7rem; background: var(--bar); border-radius: .2rem; }
img { display: block; width: 100%; max-width: 40rem; height: auto; image-rendering: pixelated; border-radius: .25rem; }
@media (max-width: 36rem) { .wide { display: none; } th, td { padding: .25rem .3rem; } }
"""


def to_html(report: Report, *, title: str, grid: bytes | None = None) -> str:
    """The page.

    Args:
        report: what was measured.
        title: its heading, the name of the run.
        grid: a PNG of samples.

    Returns:
        A whole HTML document; every text of the report is escaped.

    >>> "&lt;b&gt;" in to_html(Report("digits", "digits-classifier", 0, ()), title="<b>")
    True
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{report.num_samples} samples, {escape(report.data)}, seen by {escape(report.encoder)}</p>',
        _definitions(dict(report.facts)),
        "<h2>Figures</h2>",
        f'<ul class="figures">{"".join(map(_figure, report.measurements))}</ul>',
        _left_out(report),
        _class_table(report),
        _picture(report, grid),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _figure(figure: Measurement) -> str:
    facts = {}
    if figure.low is not None and figure.high is not None:
        facts["95 % interval"] = f"{format_share(figure.low)} to {format_share(figure.high)}"
    facts["n"] = str(figure.n)
    if figure.reference is not None:
        number = format_share if figure.unit == "share" else format_distance
        facts["beside it"] = f"{number(figure.reference)}, {figure.reference_title}"
    return (
        f'<li class="figure"><span class="soft">{escape(figure.title)}</span><b>{escape(format_value(figure))}</b>'
        f"{_definitions(facts)}<small>{escape(figure.note)}</small></li>"
    )


def _definitions(facts: dict[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f"<dl>{rows}</dl>" if rows else ""


def _left_out(report: Report) -> str:
    if not report.left_out:
        return ""
    facts = {name.replace("_", " "): reason for name, reason in report.left_out.items()}
    return f"<h2>Left out</h2>{_definitions(facts)}"


def _class_table(report: Report) -> str:
    if not report.per_class:
        return ""
    head = '<tr><th>class</th><th></th><th>share</th><th class="wide">95 % interval</th><th>n</th><th>real</th></tr>'
    rows = "".join(map(_class_row, report.per_class))
    return (
        f"<h2>{escape(report.per_class_title)}</h2>"
        '<p class="soft">Real: the same share for real held-out examples.</p>'
        f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    )


def _class_row(row: ClassRow) -> str:
    value = "none" if row.value is None else format_share(row.value)
    real = "" if row.reference is None else format_share(row.reference)
    width = 100 * (row.value or 0)
    return (
        f'<tr><td>{escape(row.name)}</td><td class="bar"><div><i style="width:{width:.1f}%"></i></div></td>'
        f'<td>{value}</td><td class="wide">{format_share(row.low)} to {format_share(row.high)}</td>'
        f"<td>{row.n}</td><td>{real}</td></tr>"
    )


def _picture(report: Report, grid: bytes | None) -> str:
    if grid is None:
        return ""
    rows = ", a row per class" if report.confusion is not None else ""
    data = base64.b64encode(grid).decode("ascii")
    return (
        f'<h2>Samples</h2><p class="soft">Not picked{rows}.</p>'
        f'<img alt="Samples{rows}" src="data:image/png;base64,{data}">'
    )
