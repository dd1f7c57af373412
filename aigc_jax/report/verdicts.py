"""What each light says, in words: the same on the page and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Criterion, Report

Kind = Literal["missed", "undecided", "met", "worse", "alike", "unknown"]
"""How a light looks: by the user's targets where there are any, by the comparison with real data elsewhere."""


class Verdict(NamedTuple):
    """A light as people see it.

    Attributes:
        kind: how it looks.
        word: what it says, in a few words.
        comparison: the same of the comparison with real data, where targets decided the word; "" elsewhere.
    """

    kind: Kind
    word: str
    comparison: str = ""


def light(criterion: Criterion, n: int | None = None) -> Verdict:
    """What a light says.

    Args:
        criterion: the light.
        n: number of samples of its headline; None where there is none.

    Returns:
        Its look and its words.

    >>> light(Criterion("valid", False, "valid_samples"), 1000).word
    'not distinguishable from real data at n = 1000'
    """
    compared = _compared(criterion, n)
    states = [target.state for target in criterion.targets]
    if not states:
        return compared
    total = len(states)
    for kind in ("missed", "undecided"):
        if count := states.count(kind):
            subject = f"{count} of {total} targets" if total > 1 else "target"
            return Verdict(kind, f"{subject} {kind}", compared.word)
    return Verdict("met", f"all {total} targets met" if total > 1 else "target met", compared.word)


def verdicts_of(report: Report) -> list[tuple[Criterion, Verdict]]:
    """The lights of a report with their words, in the order of the page.

    Args:
        report: what was measured.

    Returns:
        Pairs of a light and what it says.

    >>> [said.kind for _, said in verdicts_of(Report("digits", "", 9, (), [Criterion("valid", True, "")]))]
    ['worse']
    """
    order = list(CRITERION_TITLES)
    pairs = []
    for criterion in sorted(report.criteria, key=lambda criterion: order.index(criterion.name)):
        headline = report.find(criterion.headline)
        pairs.append((criterion, light(criterion, None if headline is None else headline.n)))
    return pairs


def verdict(report: Report) -> str:
    """All lights in one sentence.

    Args:
        report: what was measured.

    Returns:
        The sentence; "" for a report without lights.

    >>> verdict(Report("digits", "", 9, (), [Criterion("valid", True, ""), Criterion("diverse", False, "")]))
    'Worse than real data in 1 of 2 lights (Valid); not distinguishable from real data in 1.'
    """
    if not report.criteria:
        return ""
    lit, dark, unknown = (
        [CRITERION_TITLES[criterion.name] for criterion in report.criteria if criterion.has_failed is state]
        for state in (True, False, None)
    )
    parts = []
    if lit:
        parts.append(f"worse than real data in {len(lit)} of {len(report.criteria)} lights ({', '.join(lit)})")
    if dark:
        total = "" if lit else f" of {len(report.criteria)} lights"
        parts.append(f"not distinguishable from real data in {len(dark)}{total}")
    if unknown:
        parts.append(f"not measured: {', '.join(unknown)}")
    parts += _target_words(report.criteria)
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _target_words(criteria: Sequence[Criterion]) -> list[str]:
    targets = [target for criterion in criteria for target in criterion.targets]
    counts = {state: sum(target.state == state for target in targets) for state in ("missed", "undecided", "met")}
    words = [f"{count} {state}" for state, count in counts.items() if count]
    return (
        [f"of your {len(targets)} targets, {', '.join(words)}"]
        if len(targets) > 1
        else [f"your target is {target.state}" for target in targets]
    )


def _compared(criterion: Criterion, n: int | None) -> Verdict:
    if criterion.has_failed is None:
        return Verdict("unknown", "not measured")
    if criterion.has_failed:
        return Verdict("worse", "worse than real data")
    return Verdict("alike", "not distinguishable from real data" + (f" at n = {n}" if n is not None else ""))
