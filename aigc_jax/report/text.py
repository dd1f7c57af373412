"""The report as a few lines for a terminal."""

from __future__ import annotations

from aigc_jax.report.report import Measurement, Report


def summary_lines(report: Report) -> list[str]:
    """What the command line prints.

    Args:
        report: what was measured.

    Returns:
        One line per figure, then one per figure that was left out.

    >>> from aigc_jax.report.report import Measurement
    >>> figure = Measurement("class_agreement", "class agreement", 0.985, 1000, "share", "", 0.9754, 0.9916)
    >>> print(*summary_lines(Report("digits", "digits-classifier", 1000, [figure])))
    class agreement     98.5 %  (95 % interval 97.5 to 99.2, n = 1000)
    """
    lines = [f"{_title(m):19} {_text(m, report)}" for m in report.measurements]
    return lines + [f"{name.replace('_', ' '):19} left out: {reason}" for name, reason in report.left_out.items()]


def format_share(value: float) -> str:
    """A share in percent, as fine as a reader can use.

    >>> format_share(0.985)
    '98.5 %'
    """
    return f"{100 * value:.1f} %"


def format_value(figure: Measurement) -> str:
    """A figure as people read it; all of n samples is no certainty, so it is printed as a bound.

    Args:
        figure: one measurement.

    Returns:
        A share in percent, or a distance with three digits.

    >>> format_value(Measurement("class_agreement", "", 1.0, 1000, "share", "", 0.9963, 1.0))
    'at least 99.6 %'
    """
    if figure.unit != "share":
        return format_distance(figure.value)
    if figure.value == 1 and figure.low is not None:
        # Rounded down: a bound must not promise more than it holds.
        return f"at least {int(1000 * figure.low) / 10:.1f} %"
    return format_share(figure.value)


def format_distance(value: float) -> str:
    """A distance, or nats, with three digits, without an exponent where it is of everyday size.

    >>> format_distance(9.312), format_distance(1234.5)
    ('9.31', '1234')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _title(figure: Measurement) -> str:
    short = {"worst_class": "worst class", "classifier_accuracy": "classifier"}
    return short.get(figure.name, figure.title)


def _text(figure: Measurement, report: Report) -> str:
    value = format_value(figure)
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"
    if figure.name == "worst_class":
        return f"{figure.title.removeprefix('worst class: ')}: {value}  (95 % interval {interval}, n = {figure.n})"
    if figure.name == "classifier_accuracy":
        return f"{value} accurate on {figure.n} held-out images of {report.data} ({interval})"
    if figure.unit == "share":
        return f"{value}  ({f'95 % interval {interval}, ' if interval else ''}n = {figure.n})"
    if figure.unit == "nats":
        reference = "" if figure.reference is None else f"; real {format_distance(figure.reference)}"
        return f"{value} nats at n = {figure.n}{reference}"
    reference = "" if figure.reference is None else f"; real against real {format_distance(figure.reference)}"
    return f"{value} at n = {figure.n}{reference}"
