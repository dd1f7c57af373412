"""What each light says, in words: the same on the page and on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from aigc_jax.report.schema import LAMP_TITLES, Lamp, Report

Kind = Literal["missed", "undecided", "met", "worse", "alike", "unknown"]
"""How a light looks: by the user's targets where there are any, by the comparison with real data elsewhere."""


class Light(NamedTuple):
    """A light as people see it.

    Attributes:
        kind: how it looks.
        word: what it says, in a few words.
        comparison: the same of the comparison with real data, where targets decided the word; "" elsewhere.
    """

    kind: Kind
    word: str
    comparison: str = ""


def light(lamp: Lamp, n: int | None = None) -> Light:
    """What a light says.

    Args:
        lamp: the light.
        n: number of samples of its headline; None where there is none.

    Returns:
        Its look and its words.

    >>> light(Lamp("valid", False, "valid_samples"), 1000).word
    'not distinguishable from real data at n = 1000'
    """
    compared = _compared(lamp, n)
    states = [target.state for target in lamp.targets]
    if not states:
        return compared
    total = len(states)
    for kind in ("missed", "undecided"):
        if count := states.count(kind):
            subject = f"{count} of {total} targets" if total > 1 else "target"
            return Light(kind, f"{subject} {kind}", compared.word)
    return Light("met", f"all {total} targets met" if total > 1 else "target met", compared.word)


def lights_of(report: Report) -> list[tuple[Lamp, Light]]:
    """The lights of a report with their words, in the order of the page.

    Args:
        report: what was measured.

    Returns:
        Pairs of a light and what it says.

    >>> [said.kind for _, said in lights_of(Report("digits", "", 9, (), [Lamp("valid", True, "")]))]
    ['worse']
    """
    order = list(LAMP_TITLES)
    pairs = []
    for lamp in sorted(report.lamps, key=lambda lamp: order.index(lamp.name)):
        headline = report.find(lamp.headline)
        pairs.append((lamp, light(lamp, None if headline is None else headline.n)))
    return pairs


def verdict(report: Report) -> str:
    """All lights in one sentence.

    Args:
        report: what was measured.

    Returns:
        The sentence; "" for a report without lights.

    >>> verdict(Report("digits", "", 9, (), [Lamp("valid", True, ""), Lamp("diverse", False, "")]))
    'Worse than real data in 1 of 2 lights (Valid); not distinguishable from real data in 1.'
    """
    if not report.lamps:
        return ""
    lit, dark, unknown = (
        [LAMP_TITLES[lamp.name] for lamp in report.lamps if lamp.is_lit is state] for state in (True, False, None)
    )
    parts = []
    if lit:
        parts.append(f"worse than real data in {len(lit)} of {len(report.lamps)} lights ({', '.join(lit)})")
    if dark:
        total = "" if lit else f" of {len(report.lamps)} lights"
        parts.append(f"not distinguishable from real data in {len(dark)}{total}")
    if unknown:
        parts.append(f"not measured: {', '.join(unknown)}")
    parts += _target_words(report.lamps)
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _target_words(lamps: Sequence[Lamp]) -> list[str]:
    targets = [target for lamp in lamps for target in lamp.targets]
    counts = {state: sum(target.state == state for target in targets) for state in ("missed", "undecided", "met")}
    words = [f"{count} {state}" for state, count in counts.items() if count]
    return (
        [f"of your {len(targets)} targets, {', '.join(words)}"]
        if len(targets) > 1
        else [f"your target is {target.state}" for target in targets]
    )


def _compared(lamp: Lamp, n: int | None) -> Light:
    if lamp.is_lit is None:
        return Light("unknown", "not measured")
    if lamp.is_lit:
        return Light("worse", "worse than real data")
    return Light("alike", "not distinguishable from real data" + (f" at n = {n}" if n is not None else ""))
