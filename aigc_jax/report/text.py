"""Reports and tables as lines for a terminal."""

from __future__ import annotations

from aigc_jax.data.files import visible
from aigc_jax.report.figures import Table
from aigc_jax.report.formatting import format_interval, format_reference, format_unit, format_value
from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Criterion, Report
from aigc_jax.report.verdicts import Verdict, summary, verdicts_of

_NAMES_WIDTH, _MAX_LEFT_OUT, _MAX_RECOMMENDATIONS = 60, 5, 3


def summary_lines(report: Report, width: int | None = None) -> list[str]:
    """The lines that the command line prints: one per criterion and measurement, some reasons, some recommendations.

    Lines longer than ``width`` letters (>= 20) are cut; None cuts none, as for a log file.
    """
    lines = [words] if (words := summary(report)) else []
    lines += [_criterion_line(criterion, verdict) for criterion, verdict in verdicts_of(report)]
    for row in report.measurements:
        interval, reference = format_interval(row).removesuffix(" %"), format_reference(row)
        facts = [f"95 % interval {interval}"] if interval else []
        facts += [f"reference {reference}"] if reference else []
        lines.append(f"{row.title:19} {format_value(row)}{format_unit(row)}  ({', '.join([*facts, f'n = {row.n}'])})")
    lines += _left_out_lines(report)
    lines += [
        f"try next            {each.title}: {each.command}" for each in report.recommendations[:_MAX_RECOMMENDATIONS]
    ]
    if (num_more := len(report.recommendations) - _MAX_RECOMMENDATIONS) > 0:
        lines[-1] += f" (and {num_more} more: see the report)"
    lines = [visible(line) for line in lines]  # names of classes and data may come from anywhere
    return [line if width is None or len(line) <= width else line[: width - 3].rstrip() + "..." for line in lines]


def _criterion_line(criterion: Criterion, verdict: Verdict) -> str:
    words = ": ".join(filter(None, (verdict.word, verdict.sentence)))
    return f"{CRITERION_TITLES[criterion.name].lower():22} {words}"


def _left_out_lines(report: Report) -> list[str]:
    """A line per reason, with as many names as leave room for the reason."""
    groups = list(report.left_out_by_reason().items())
    num_more = len(groups) - _MAX_LEFT_OUT + 1
    lines = []
    for reason, names in groups if num_more < 2 else groups[:-num_more]:
        num = next((num for num in range(len(names), 1, -1) if len(", ".join(names[:num])) <= _NAMES_WIDTH), 1)
        more = f" and {len(names) - num} more" if num < len(names) else ""
        lines.append(f"left out            {', '.join(names[:num])}{more}: {reason}")
    return lines if num_more < 2 else [*lines, f"left out            for {num_more} more reasons: see the report"]


def table_lines(table: Table) -> list[str]:
    """A table with aligned columns: a line for the headings, and one per row."""
    rows = [[visible(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
