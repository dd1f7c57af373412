"""The report as a few lines for a terminal."""

from __future__ import annotations

from aigc_jax.report.formatting import format_interval, format_reference, format_unit, format_value
from aigc_jax.report.measurements import CRITERION_TITLES, Measurement
from aigc_jax.report.schema import Criterion, Report
from aigc_jax.report.verdicts import Verdict, verdicts_of

_MAX_WIDTH, _MAX_LEFT_OUT, _MAX_ACTIONS = 118, 5, 3


def summary_lines(report: Report) -> list[str]:
    r"""What the command line prints.

    Args:
        report: what was measured.

    Returns:
        One line per light, one per figure, a few of what was left out, and what to try next.

    >>> from aigc_jax.report.measurements import Measurement
    >>> figure = Measurement("class_agreement", "class agreement", 0.985, 1000, "share", "", 0.9754, 0.9916)
    >>> criterion = Criterion("follows_condition", False, "class_agreement")
    >>> print(*summary_lines(Report("digits", "digits-classifier", 1000, [figure], [criterion])), sep="\n")
    follows its condition  not distinguishable from real data at n = 1000: class agreement 98.5 %
    class agreement     98.5 %  (95 % interval 97.5 to 99.2, n = 1000)
    """
    lights = [_light_line(report, criterion, said) for criterion, said in verdicts_of(report)]
    figures = [f"{_title(m):19} {_text(m, report)}" for m in report.measurements]
    return lights + figures + _left_out_lines(report) + _action_lines(report)


def _light_line(report: Report, criterion: Criterion, said: Verdict) -> str:
    figure, details = report.find(criterion.headline), criterion.why_not
    if figure is not None:
        reference = format_reference(figure)
        details = f"{figure.title} {format_value(figure)}{f' (beside it {reference})' if reference else ''}"
    wanted = (target.text for target in criterion.targets if target.state == said.kind != "met")
    words = "; ".join(part for part in (details, *wanted) if part)
    return _short(f"{CRITERION_TITLES[criterion.name].lower():22} {said.word}{f': {words}' if words else ''}")


def _left_out_lines(report: Report) -> list[str]:
    """What one reason left out stands in one line."""
    names: dict[str, list[str]] = {}
    for name, reason in report.left_out.items():
        names.setdefault(reason, []).append(name.replace("_", " "))
    lines = [_left_out_line(group, reason) for reason, group in names.items()]
    if len(lines) > _MAX_LEFT_OUT:
        num_more = len(lines) - _MAX_LEFT_OUT + 1
        lines = [*lines[: _MAX_LEFT_OUT - 1], f"left out            for {num_more} more reasons: see the report"]
    return lines


def _left_out_line(names: list[str], reason: str) -> str:
    """As many of the names as leave room for the reason, which tells more than they do."""
    line = ""
    for num in range(len(names), 0, -1):
        more = f" and {len(names) - num} more" if num < len(names) else ""
        line = f"left out            {', '.join(names[:num])}{more}: {reason}"
        if len(line) <= _MAX_WIDTH:
            return line
    return _short(line)


def _action_lines(report: Report) -> list[str]:
    lines = [_short(f"try next            {action.title}") for action in report.recommendations[:_MAX_ACTIONS]]
    if (num_more := len(report.recommendations) - _MAX_ACTIONS) > 0:
        lines[-1] = _short(f"{lines[-1]} (and {num_more} more: see the report)")
    return lines


def _short(line: str) -> str:
    return line if len(line) <= _MAX_WIDTH else line[: _MAX_WIDTH - 3].rstrip() + "..."


def _title(figure: Measurement) -> str:
    short = {"worst_class": "worst class", "classifier_accuracy": "classifier"}
    return short.get(figure.name, figure.title)


def _text(figure: Measurement, report: Report) -> str:
    value, interval = format_value(figure), format_interval(figure).removesuffix(" %")
    if figure.name == "worst_class":
        return f"{figure.title.removeprefix('worst class: ')}: {value}  (95 % interval {interval}, n = {figure.n})"
    if figure.name == "classifier_accuracy":
        return f"{value} accurate on {figure.n} held-out images of {report.data} ({interval})"
    if figure.unit == "share":
        return f"{value}  ({f'95 % interval {interval}, ' if interval else ''}n = {figure.n})"
    end = ""
    if figure.reference is not None:
        # Without what stands in brackets: "real against real (training images)".
        title = "real" if figure.unit == "nats" else figure.reference_title.partition(" (")[0] or "real"
        end = f"; {title} {format_reference(figure)}"
    return f"{value}{format_unit(figure)} at n = {figure.n}{f' (95 % interval {interval})' if interval else ''}{end}"
