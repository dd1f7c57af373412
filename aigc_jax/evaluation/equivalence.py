"""Equivalence with real data: samples may be worse than held-out data by a margin at most, decided by one interval.

A comparison *passes* where the whole interval of the difference lies within the margin, *fails* where it lies wholly
beyond, and is *undecided* elsewhere. So a small sample can pass nothing that a large one would fail: more samples turn
undecided into pass or fail. For this the difference must mean the same at every number of samples, so that whatever
depends on the size of a set (recall, coverage, Fréchet distance) is measured on blocks of one size
(:mod:`aigc_jax.evaluation.blocks`). The differences themselves are in :mod:`aigc_jax.metrics.differences`.

All comparisons of a report share one error (Bonferroni): with probability 1 - :data:`FAMILY_ERROR` none passes whose
true difference exceeds its margin, and none fails whose does not. Only one end of an interval can be wrong
in that way, so that each end has the whole error of its comparison.

Reference:
    Westlake, "Symmetrical confidence intervals for bioequivalence trials", Biometrics 1976; Wellek, "Testing
    Statistical Hypotheses of Equivalence and Noninferiority", 2010, section 1.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.metrics.differences import MIN_BLOCKS, Difference, Interval
from aigc_jax.report.criteria import COMPARISONS, Margins
from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Check, State

FAMILY_ERROR = 0.05
"""Probability that some comparison of a report is decided wrongly."""


MAX_SAMPLES = 1_000_000
"""The largest number of samples that is recommended."""


def decide(interval: Interval, margin: float) -> State:
    """The outcome of a comparison.

    >>> decide(Interval(0.01, 0.005, 0.015), 0.02), decide(Interval(0.01, 0.005, 0.03), 0.02)
    ('pass', 'undecided')
    """
    if interval.high <= margin:
        return "pass"
    return "fail" if interval.low > margin else "undecided"


def num_to_decide(given: Difference, margin: float, error: float) -> int | None:
    """Number of samples at which a comparison would be decided if the samples stayed as they are, within 5 %.

    Returns:
        The number; None where :data:`MAX_SAMPLES` would not do: more held-out examples are needed.

    >>> from aigc_jax.metrics.differences import share_difference
    >>> num_to_decide(share_difference(0, 60, 0, 5000), 0.02, 0.005)
    264
    """
    low, high = float(max(given.n, 1)), float(MAX_SAMPLES)
    if not given.n or decide(given.interval_at(error, high / given.n), margin) == "undecided":
        return None
    while high > 1.05 * low:
        middle = (low * high) ** 0.5
        is_decided = decide(given.interval_at(error, middle / given.n), margin) != "undecided"
        low, high = (low, middle) if is_decided else (middle, high)
    return int(np.ceil(high))


class Comparison(NamedTuple):
    """A comparison of samples with held-out data, before its level is known: that depends on how many there are."""

    name: str
    """Its key in :data:`aigc_jax.report.criteria.COMPARISONS`."""
    difference: Difference
    detail: str = ""
    """What it is of, where there are several of a name."""


def never(name: str, title: str, count: int, n: int) -> Check:
    """A defect of which one case is too many.

    >>> never("repeatability", "samples that change when repeated", 1, 64).state
    'fail'
    """
    share = count / max(n, 1)
    return Check(name, title, share, 0.0, share, share, share, 0.0, "fail" if count else "pass", n)


def checks_of(comparisons: Sequence[Comparison | Check], margins: Margins) -> dict[str, list[Check]]:
    """The checks of each criterion, at the level that all comparisons of a report share.

    Args:
        comparisons: of all sections.
        margins: percentage points that differ from the defaults.

    Returns:
        ``{criterion: checks}``.
    """
    error = FAMILY_ERROR / max(sum(isinstance(each, Comparison) for each in comparisons), 1)
    checks: dict[str, list[Check]] = {name: [] for name in CRITERION_TITLES}
    for each in comparisons:
        check = each if isinstance(each, Check) else _check(each, margins, error)
        checks[COMPARISONS[each.name].criterion].append(check)
    return checks


def _check(comparison: Comparison, margins: Margins, error: float) -> Check:
    kind, given = COMPARISONS[comparison.name], comparison.difference
    margin = margins.get(comparison.name, kind.margin) / 100
    interval = given.interval(error)
    state = decide(interval, margin) if np.isfinite(interval.difference) else "undecided"
    low, high = (float(end) if np.isfinite(end) else None for end in (interval.low, interval.high))
    return Check(
        comparison.name,
        f"{kind.title}: {comparison.detail}" if comparison.detail else kind.title,
        given.value,
        given.reference,
        interval.difference,
        low,
        high,
        margin,
        state,
        given.n,
        *(_advice(given, margin, error) if state == "undecided" else (None, "")),
    )


def _advice(given: Difference, margin: float, error: float) -> tuple[int | None, str]:
    """The number of samples that would decide, and the same in words; or the reason why none would."""
    if not given.n:
        return None, "no sample and held-out example have a class in common"
    if not np.isfinite(given.interval(error).high):
        least = MIN_BLOCKS * BLOCK
        if given.n < least:
            return least, f"needs {least} samples or more, there are {given.n}"
        return None, f"needs {least} held-out examples or more, there are {given.real_n}"
    needed = num_to_decide(given, margin, error)
    if needed is None:
        advice = "more of them would, or a wider margin in [criteria] of --gate"
        return None, f"{given.real_n} held-out examples cannot decide it: {advice}"
    # Two digits are enough for an estimate.
    unit = 10 ** max(len(str(needed)) - 2, 0)
    needed = -(-needed // unit) * unit
    return needed, f"about {needed} samples would decide, there were {given.n}"


def worst_state(checks: Sequence[Check]) -> State | None:
    """Fail before undecided before pass; None for no check.

    >>> worst_state([never("repeatability", "", 0, 9), never("repeatability", "", 1, 9)])
    'fail'
    """
    states = {check.state for check in checks}
    return next((state for state in ("fail", "undecided", "pass") if state in states), None)
