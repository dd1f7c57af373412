"""The report as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

import base64

from aigc_jax.report.html.cards import criterion_card, icon, measurement_card
from aigc_jax.report.html.markup import definitions, joined, tag, text
from aigc_jax.report.html.panels import panel
from aigc_jax.report.html.style import STYLE
from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import FORMAT, Recommendation, Report
from aigc_jax.report.verdicts import Kind, verdict, verdicts_of

_HOW = (
    "An interval holds the true figure in 95 of 100 evaluations. For shares of independent samples it is exact "
    "(Clopper and Pearson 1934); a figure with another kind of interval says so.",
    "None of n samples is printed as “below” and all of n as “at least”: the one-sided 95 % bound, 1 - 0.05^(1/n), "
    "which is 0.30 % at n = 1000. That something never happens cannot be shown by counting.",
    "Beside a figure stands the same figure of real examples, judged by the same judge at the same size. No figure has "
    "a threshold of ours: what is good enough is for you to declare, in a gate file.",
    "A light without a target says whether the samples are worse than real data beyond chance. All comparisons of a "
    "report are judged together, at a family-wise level of 1 % (Bonferroni): a perfect model lights any light at all "
    "in at most 1 of 100 evaluations. A light that is not lit is no proof: a smaller difference may be there.",
    "“Proxy” means that a learned model stands in for the truth; the figure is as good as that model is.",
)


def to_html(report: Report, *, title: str, grid: bytes | None = None) -> str:
    """The page: the five lights first, then their figures, what else there is to see, and what to try next.

    Args:
        report: what was measured.
        title: its heading, the name of the run.
        grid: a PNG of samples.

    Returns:
        A whole HTML document; every text of the report is escaped.

    >>> "&lt;b&gt;" in to_html(Report("digits", "digits-classifier", 0, ()), title="<b>")
    True
    """
    sections = {
        "figures": ("Figures", _panels(report)),
        "samples": ("Samples", _samples(grid)),
        "next": ("What to try next", _actions(report)),
        "left-out": ("Left out", _left_out(report)),
        "how": ("How the numbers were made", "".join(tag("p", text(words)) for words in _HOW)),
    }
    shown = {name: (heading, content) for name, (heading, content) in sections.items() if content}
    body = joined(
        [
            tag("header", _head(report, title)),
            _lights(report),
            _links({name: heading for name, (heading, _) in shown.items()}),
            _measurements(report),
            *(tag("section", tag("h2", text(h)), content, id=name) for name, (h, content) in shown.items()),
            tag("footer", f"aigc_jax report, format {FORMAT}; the same figures for scripts: report.json"),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}: report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _head(report: Report, title: str) -> str:
    facts = {"data": report.data, "judged by": report.encoder, "samples": str(report.num_samples), **report.facts}
    pieces = (tag("span", text(name), " ", tag("strong", text(words))) for name, words in facts.items())
    sentence = verdict(report)
    words = tag("p", text(sentence), class_="verdict") if sentence else ""
    return joined([tag("h1", text(title)), tag("p", *pieces, class_="facts"), words])


def _lights(report: Report) -> str:
    cards = [criterion_card(report, criterion, said) for criterion, said in verdicts_of(report)]
    return tag("section", *cards, class_="lights", aria_label="The five lights") if cards else ""


def _links(headings: dict[str, str]) -> str:
    return tag("nav", *(tag("a", text(heading), href=f"#{name}") for name, heading in headings.items()))


def _measurements(report: Report) -> str:
    """Light by light, as the first page has them."""
    kinds: dict[str, Kind] = {criterion.name: said.kind for criterion, said in verdicts_of(report)}
    parts = []
    for name, title in [*CRITERION_TITLES.items(), (None, "Other measurements")]:
        cards = [measurement_card(m, report.encoder) for m in report.measurements if m.criterion == name]
        if cards:
            heading = tag("h2", icon(kinds[name]) if name and name in kinds else "", text(title))
            parts.append(tag("section", heading, tag("ul", *cards, class_="figures"), id=f"light-{name or 'other'}"))
    return joined(parts)


def _panels(report: Report) -> str:
    panels = joined(panel(figure) for figure in report.figures)
    return tag("div", panels, class_="panels") if panels else ""


def _samples(grid: bytes | None) -> str:
    if grid is None:
        return ""
    data = base64.b64encode(grid).decode("ascii")
    picture = tag("img", class_="samples", alt="Samples", src=f"data:image/png;base64,{data}")
    return tag("p", "As they come, not picked.", class_="soft") + picture


def _actions(report: Report) -> str:
    return tag("ol", *map(_action, report.recommendations), class_="actions") if report.recommendations else ""


def _action(action: Recommendation) -> str:
    # Word by word: a line shall not end within "--num-steps".
    words = " ".join(tag("span", text(word)) for word in action.command.split(" "))
    command = tag("code", words) if action.command else ""
    return tag("li", tag("b", text(action.title)), tag("p", text(action.reason)), command)


def _left_out(report: Report) -> str:
    """Names with one reason stand together."""
    names: dict[str, list[str]] = {}
    for name, reason in report.left_out.items():
        names.setdefault(reason, []).append(name.replace("_", " "))
    return definitions({", ".join(group): reason for reason, group in names.items()}, class_="left")
