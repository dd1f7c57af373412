"""The lights and the measurements of a report as parts of its page."""

from __future__ import annotations

from aigc_jax.report.formatting import format_check, format_interval, format_reference, format_unit, format_value
from aigc_jax.report.html.markup import tag, text
from aigc_jax.report.measurements import CRITERION_TITLES, Measurement
from aigc_jax.report.schema import Check, Criterion, Report
from aigc_jax.report.verdicts import Kind, Verdict

_ICONS: dict[Kind, str] = {
    "missed": '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8z"/><path class="in" d="M8.5 8.5l7 7m0-7l-7 7"/>',
    "undecided": '<path d="M12 1l11 11-11 11L1 12z"/><path class="in" d="M9.3 9.6a2.7 2.7 0 1 1 2.7 3.4v1.4m0 3v.1"/>',
    "met": '<circle cx="12" cy="12" r="10.5"/><path class="in" d="M7 12.5l3.5 3.5 6.5-7.5"/>',
    "worse": '<path d="M12 1.5l11 20H1z"/><path class="in" d="M12 9v6m0 3v.1"/>',
    "alike": '<rect x="2" y="2" width="20" height="20" rx="4"/><path class="in" d="M7 9.5h10m-10 5h10"/>',
    "unknown": '<circle class="out" cx="12" cy="12" r="10"/><path class="out" d="M8 12h8"/>',
}
"""A shape for each state: the colour is never the only sign."""


def icon(kind: Kind) -> str:
    """The sign of a state; the words beside it say the same.

    Args:
        kind: the state.

    Returns:
        SVG.

    >>> icon("met")[:21]
    '<svg class="icon met"'
    """
    return f'<svg class="icon {kind}" viewBox="0 0 24 24" aria-hidden="true">{_ICONS[kind]}</svg>'


def criterion_card(report: Report, criterion: Criterion, said: Verdict) -> str:
    """One light of the first page.

    Args:
        report: what was measured.
        criterion: the light.
        said: its look and its words.

    Returns:
        Markup.

    >>> criterion = Criterion("valid", None, "", why_not="no judge")
    >>> report = Report("digits", "", 9, (), [criterion])
    >>> "no judge" in criterion_card(report, criterion, Verdict("unknown", "not measured"))
    True
    """
    figure = report.find(criterion.headline)
    head = tag(
        "div",
        tag("h3", icon(said.kind), tag("span", text(CRITERION_TITLES[criterion.name]))),
        tag("p", text(said.word), class_="word"),
        class_="said",
    )
    number = ""
    if figure is not None:
        number = tag("div", tag("b", text(format_value(figure))), tag("small", text(figure.title)), class_="number")
    facts = "" if figure is None else _facts(figure)
    words = "".join(tag("p", text(words), class_="soft") for words in (said.comparison, criterion.why_not) if words)
    targets = "".join(
        tag("li", icon(target.state), tag("span", tag("strong", target.state), " ", text(target.text)))
        for target in criterion.targets
    )
    targets = tag("ul", targets, class_="targets") if targets else ""
    return tag("article", head, number, facts, words, targets, _checks(criterion), class_=f"light {said.kind}")


def measurement_card(figure: Measurement, encoder: str) -> str:
    """One figure with all that is needed to read it.

    Args:
        figure: the figure.
        encoder: whose word it is where it is a proxy.

    Returns:
        Markup.

    >>> "proxy" in measurement_card(Measurement("density", "density", 1.0, 9, "score", "", is_proxy=True), "vgg")
    True
    """
    proxy = tag("p", text(f"proxy: by the word of {encoder}"), class_="proxy") if figure.is_proxy else ""
    note = tag("small", text(figure.note)) if figure.note else ""
    value = format_value(figure) + format_unit(figure)
    heading = tag("h3", text(figure.title))
    return tag("li", heading, tag("b", text(value)), _facts(figure), proxy, note, class_="figure")


def _facts(figure: Measurement) -> str:
    """What a number is read by, as short pieces that wrap as wholes."""
    pairs = [
        ("95 % interval", format_interval(figure)),
        ("n =", str(figure.n)),
        (f"{figure.reference_title or 'real data'}:", format_reference(figure)),
    ]
    pieces = [tag("span", text(name), " ", tag("strong", text(words))) for name, words in pairs if words]
    if figure.lower_is_better:
        pieces.append(tag("span", "less is better"))
    return tag("p", *pieces, class_="facts")


def _checks(criterion: Criterion) -> str:
    if not criterion.checks:
        return ""
    count = len(criterion.checks)
    title = f"{count} comparisons with real data" if count > 1 else "1 comparison with real data"
    return tag("details", tag("summary", title), tag("ul", *map(_check, criterion.checks)))


def _check(check: Check) -> str:
    verdict = tag("strong", "worse") if check.is_worse else "no difference beyond chance"
    if check.p_value is None and not check.is_worse:
        verdict = "as it must be"
    return tag("li", text(check.title), tag("span", text(format_check(check)), ": ", verdict))
