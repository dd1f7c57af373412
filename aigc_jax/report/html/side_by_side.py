"""Tables for people: as lines for a terminal, and as a page of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aigc_jax.data.files import write_text
from aigc_jax.report.figures import Table
from aigc_jax.report.html.markup import joined, tag, text
from aigc_jax.report.html.panels import panel
from aigc_jax.report.html.style import STYLE


def table_lines(table: Table) -> list[str]:
    """A table with aligned columns.

    Args:
        table: what to print.

    Returns:
        A line for the headings, and one per row.

    >>> table_lines(Table("t", "", "", ["", "a"], [["share", "1 %"]]))
    ['       a', 'share  1 %']
    """
    rows = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def write_tables(path: Path, tables: Sequence[Table], *, title: str) -> None:
    """Write a page of tables that needs no other file, whole or not at all.

    Args:
        path: where to.
        tables: what it shows.
        title: its heading.

    Raises:
        UsageError: it cannot be written there.
    """
    body = joined([tag("header", tag("h1", text(title))), *(panel(table) for table in tables)])
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}: comparison</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    write_text(path, page)
