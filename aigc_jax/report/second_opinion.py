"""The second opinion: what a classifier of another architecture sees in the samples of a conditional model.

A generator that pleases one network need not show what was asked for; one that pleases two different ones more likely
does. Both have errors of their own, so each is read beside its word on real examples.
"""

from __future__ import annotations

import numpy as np

from aigc_jax.metrics.intervals import clopper_pearson, standardized_share
from aigc_jax.report.examples import Examples
from aigc_jax.report.figures import Table
from aigc_jax.report.lamps import more_often_in_strata
from aigc_jax.report.section import Evidence, Section, number, share
from aigc_jax.report.wording import format_share

_NOTE = (
    "Share of samples in which {}, a classifier of another architecture, sees the class that was asked for; far below "
    "class agreement while both read real images alike, the samples please the first classifier alone. Both learned "
    "from the training images that the model saw, so what they have in common is no second opinion."
)


def second_opinion(evidence: Evidence) -> Section:
    """What the second classifier sees in samples, and how often it and the first say the same.

    Args:
        evidence: what was looked at, with conditions.

    Returns:
        A section to put into that of the light "follows its condition"; the reason where there is no second opinion.
    """
    samples, held_out, judge = evidence.samples, evidence.held_out, evidence.judge
    if judge.world is not None:
        return Section(left_out={"second_opinion": "the world itself judges: nothing needs a second opinion"})
    if samples.verdicts.second is None:
        return Section(left_out={"second_opinion": "one classifier judges alone: leave --single-judge out"})
    is_right = samples.verdicts.second == samples.condition
    row = share(
        "second_opinion",
        "second opinion",
        count=int(is_right.sum()),
        n=samples.num,
        note=_NOTE.format(judge.second_name),
    )._replace(is_proxy=True)
    checks = []
    if held_out.condition is not None:
        is_real_right = held_out.verdicts.second == held_out.condition
        row = row._replace(
            reference=number(
                standardized_share(is_real_right, np.asarray(held_out.condition), np.asarray(samples.condition))
            ),
            reference_title="same classifier on real held-out images",
        )
        ours, real = (~is_right, np.asarray(samples.condition)), (~is_real_right, np.asarray(held_out.condition))
        checks.append(more_often_in_strata("samples in which a second classifier sees another class", ours, real))
    return Section([row], checks, [_judges(evidence)])


def _judges(evidence: Evidence) -> Table:
    """Both classifiers on samples and on real examples, and how often they differ."""
    judge = evidence.judge
    rows = [_row("samples", evidence.samples), _row("real held-out examples", evidence.held_out)]
    caption = (
        "How often each classifier sees the class asked for in a sample, or the true class of a real example that no "
        "training saw, with 95 % intervals; and how often the two differ, whichever is right."
    )
    columns = ["", judge.name, judge.second_name, "both say the same", "they differ on"]
    return Table("judges", "Two classifiers of different architecture", caption, columns, rows)


def _row(title: str, examples: Examples) -> list[str]:
    seen = [np.asarray(each) for each in (examples.verdicts.predicted, examples.verdicts.second)]
    if examples.condition is None:
        right = ["no classes"] * 2
    else:
        right = [_with_interval(int(np.sum(each == examples.condition)), examples.num) for each in seen]
    num_same = int(np.sum(seen[0] == seen[1]))
    differ = f"{examples.num - num_same} of {examples.num}"
    return [title, *right, _with_interval(num_same, examples.num), differ]


def _with_interval(count: int, n: int) -> str:
    low, high = clopper_pearson(count, n)
    return f"{format_share(count / n)} ({format_share(low)} to {format_share(high)})"
