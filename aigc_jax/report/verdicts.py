"""Verdicts in words, the same on the page and on a terminal: GO, NO GO or UNDECIDED, and one sentence per criterion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from aigc_jax.report.criteria import COMPARISONS
from aigc_jax.report.formatting import format_points
from aigc_jax.report.measurements import CRITERION_TITLES, CriterionName
from aigc_jax.report.schema import Check, Criterion, Report

Decision = Literal["GO", "NO GO", "UNDECIDED"]
Kind = Literal["pass", "fail", "undecided", "unknown"]

_PASSED: dict[CriterionName, str] = {
    "valid": "as valid as real data",
    "follows_condition": "follows its condition as real data do",
    "consistent": "repeats exactly, and hardly any two samples are the same",
    "not_copied": "copies no more than chance",
    "diverse": "as diverse and faithful as real data",
}
_FAILED: dict[CriterionName, str] = {
    "valid": "too many samples are not valid",
    "follows_condition": "too many samples are not of the requested class",
    "consistent": "the same keys do not give the same samples, or different keys do",
    "not_copied": "too many samples are copies of training examples",
    "diverse": "the samples do not cover the data, or lie beside them",
}


class Verdict(NamedTuple):
    """The verdict on a criterion."""

    kind: Kind
    """For its colour and icon."""
    word: str
    sentence: str
    """The reason in plain words."""


def decision(report: Report) -> Decision:
    """Whether the model can be used: by the user's targets alone where there are any, by all criteria elsewhere.

    >>> decision(Report("digits", "", 9, (), [Criterion("valid", "fail", "")]))
    'NO GO'
    """
    kinds = [verdict.kind for _, verdict in _deciding(report)]
    if "fail" in kinds:
        return "NO GO"
    return "GO" if kinds and set(kinds) == {"pass"} else "UNDECIDED"


def _deciding(report: Report) -> list[tuple[Criterion, Verdict]]:
    """Those that the decision depends on."""
    pairs = verdicts_of(report)
    return [pair for pair in pairs if pair[0].targets] or pairs


def describe(criterion: Criterion) -> Verdict:
    """The verdict on a criterion: by the user's targets where there are any, by the margins elsewhere.

    >>> describe(Criterion("valid", None, "", why_not="no judge")).sentence
    'no judge'
    """
    compared = _compare(criterion)
    states = [target.state for target in criterion.targets]
    if not states:
        return compared
    kinds: dict[str, Kind] = {"missed": "fail", "undecided": "undecided", "met": "pass"}
    worst = next(state for state in kinds if state in states)
    total, count = len(states), states.count(worst)
    word = f"target {worst}" if total == 1 else f"{'all' if count == total else f'{count} of'} {total} targets {worst}"
    texts = [target.text for target in criterion.targets if target.state == worst]
    return Verdict(kinds[worst], word, "; ".join([*texts, f"compared with real data: {compared.word}"]))


def _compare(criterion: Criterion) -> Verdict:
    """The verdict by the comparison with real data."""
    if criterion.state is None:
        return Verdict("unknown", "not measured", criterion.why_not)
    if criterion.state == "pass":
        return Verdict("pass", "pass", _PASSED[criterion.name])
    deciding = [check for check in criterion.checks if check.state == criterion.state]
    # The one that is farthest beyond its margin, or nearest to it.
    check = max(deciding, key=lambda check: check.difference - check.margin, default=None)
    words = [_FAILED[criterion.name]] if criterion.state == "fail" else []
    advice = f"; {check.advice}" if check is not None and check.advice else ""
    return Verdict(
        criterion.state, criterion.state, ": ".join(words + ([] if check is None else [in_words(check)])) + advice
    )


def in_words(check: Check) -> str:
    """A comparison in one sentence, its numbers in percentage points.

    >>> in_words(Check("coverage", "uncovered", 0.06, 0.02, 0.04, 0.03, 0.05, 0.02, "fail", 900))
    'uncovered: 4.0 points more than real data (3.0 to 5.0), at most 2 allowed'
    """
    if not check.margin:
        found = "none" if not check.value else f"{check.value * check.n:.0f}"
        return f"{check.title}: {found} of {check.n}, none allowed"
    side = "more" if check.difference >= 0 else "fewer"
    size = f"{format_points(abs(check.difference))} points {side} than real data"
    ends = "too few to say"
    if check.low is not None and check.high is not None:
        ends = f"{format_points(check.low)} to {format_points(check.high)}"
    return f"{check.title}: {size} ({ends}), at most {100 * check.margin:g} allowed"


def verdicts_of(report: Report) -> list[tuple[Criterion, Verdict]]:
    """The criteria that can be asked of the model and the verdicts on them, in the order of the page.

    >>> [verdict.kind for _, verdict in verdicts_of(Report("digits", "", 9, (), [Criterion("valid", None, "")]))]
    ['unknown']
    """
    order = list(CRITERION_TITLES)
    asked = [criterion for criterion in report.criteria if criterion.is_applicable or criterion.targets]
    return [(each, describe(each)) for each in sorted(asked, key=lambda criterion: order.index(criterion.name))]


def summary(report: Report) -> str:
    """The decision and its reason in a sentence or two; "" for a report without criteria.

    >>> summary(Report("digits", "", 9, (), [Criterion("valid", "pass", ""), Criterion("diverse", "pass", "")]))
    'GO: within the default margins in all 2 criteria.'
    """
    deciding, decided = _deciding(report), decision(report)
    if not deciding:
        return ""
    has_targets = any(criterion.targets for criterion, _ in deciding)
    against = "your targets" if has_targets else _margins_in_words(report)
    titles = _titles(deciding, ("fail",) if decided == "NO GO" else ("undecided", "unknown"))
    total = f"{len(deciding)} criteria" if len(deciding) > 1 else "1 criterion"
    if decided == "GO":
        words = f"{'meets' if has_targets else 'within'} {against} in {'all ' if len(deciding) > 1 else ''}{total}"
    else:
        words = "outside of" if decided == "NO GO" else "not decided against"
        words += f" {against} in {len(titles)} of {total} ({', '.join(titles)})"
    # A failure that no target of the user mentions must not stay hidden.
    others = [pair for pair in verdicts_of(report) if has_targets and not pair[0].targets]
    failed = _titles(others, ("fail",))
    hidden = f" Without a target, but outside of {_margins_in_words(report)}: {', '.join(failed)}." if failed else ""
    return f"{decided}: {words}.{hidden}"


def _titles(pairs: Sequence[tuple[Criterion, Verdict]], kinds: Sequence[Kind]) -> list[str]:
    return [CRITERION_TITLES[criterion.name] for criterion, verdict in pairs if verdict.kind in kinds]


def _margins_in_words(report: Report) -> str:
    checks = [check for criterion in report.criteria for check in criterion.checks if check.name in COMPARISONS]
    is_default = all(math.isclose(100 * check.margin, COMPARISONS[check.name].margin) for check in checks)
    return "the default margins" if is_default else "your margins"
