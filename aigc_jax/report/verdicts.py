"""Verdicts on criteria in words, the same on the page and on a terminal."""

from __future__ import annotations

from typing import Literal, NamedTuple

from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Criterion, Report

Kind = Literal["missed", "undecided", "met", "worse", "alike", "unknown"]
"""By the user's targets where there are any, by the comparison with real data elsewhere."""


class Verdict(NamedTuple):
    """The verdict on a criterion."""

    kind: Kind
    """For its colour and icon."""
    word: str
    comparison: str = ""
    """The comparison with real data in words, where targets decide the verdict; "" elsewhere."""


def describe(criterion: Criterion, n: int | None = None) -> Verdict:
    """The verdict on a criterion; ``n`` is the number of samples of its headline."""
    if criterion.has_failed is None:
        compared = Verdict("unknown", "not measured")
    elif criterion.has_failed:
        compared = Verdict("worse", "worse than real data")
    else:
        size = "" if n is None else f" at n = {n}"
        compared = Verdict("alike", f"not distinguishable from real data{size}")
    states = [target.state for target in criterion.targets]
    if not states:
        return compared
    total = len(states)
    for kind in ("missed", "undecided"):
        if count := states.count(kind):
            return Verdict(kind, f"{count} of {total} targets {kind}" if total > 1 else f"target {kind}", compared.word)
    return Verdict("met", f"all {total} targets met" if total > 1 else "target met", compared.word)


def verdicts_of(report: Report) -> list[tuple[Criterion, Verdict]]:
    """The criteria of a report and the verdicts on them, in the order of the page."""
    order = list(CRITERION_TITLES)
    pairs = []
    for criterion in sorted(report.criteria, key=lambda criterion: order.index(criterion.name)):
        headline = report.find(criterion.headline)
        pairs.append((criterion, describe(criterion, None if headline is None else headline.n)))
    return pairs


def summary(report: Report) -> str:
    """All verdicts in one sentence; "" for a report without criteria."""
    failed, passed, unknown = (
        [CRITERION_TITLES[criterion.name] for criterion in report.criteria if criterion.has_failed is state]
        for state in (True, False, None)
    )
    total = f" of {len(report.criteria)} criteria"
    parts = []
    if failed:
        parts.append(f"worse than real data in {len(failed)}{total} ({', '.join(failed)})")
    if passed:
        parts.append(f"not distinguishable from real data in {len(passed)}{'' if failed else total}")
    if unknown:
        parts.append(f"not measured: {', '.join(unknown)}")
    states = [target.state for criterion in report.criteria for target in criterion.targets]
    if len(states) == 1:
        parts.append(f"your target is {states[0]}")
    elif states:
        counts = [f"{states.count(state)} {state}" for state in ("missed", "undecided", "met") if state in states]
        parts.append(f"of your {len(states)} targets, {', '.join(counts)}")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""
