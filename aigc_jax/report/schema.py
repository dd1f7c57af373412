"""What a report holds, and its JSON form.

``docs/report.md`` describes ``report.json`` key by key; a number that does not exist is null, never NaN. A later
``format`` may rename or drop keys; new keys alone do not raise it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from aigc_jax.report.figures import (
    Bar,
    Bars,
    Figure,
    Gallery,
    Histogram,
    Lines,
    Matrix,
    Series,
    Table,
    figure_json,
    plain,
)
from aigc_jax.report.measurements import CriterionName, Measurement
from aigc_jax.types import UsageError

FORMAT = 3
"""The layout of ``report.json``."""


class Check(NamedTuple):
    """One comparison with real data by which a light is judged.

    Attributes:
        title: what was compared.
        value: of the samples.
        reference: of real examples in their place; 0 for what may not occur at all.
        p_value: probability of a difference at least as bad by chance; None where one case alone is too many.
        is_worse: whether the samples are worse than real ones beyond chance.
    """

    title: str
    value: float
    reference: float
    p_value: float | None
    is_worse: bool


class Target(NamedTuple):
    """What the user demands of a measurement, and whether it is reached.

    Attributes:
        text: the demand: "class_agreement: at least 0.98".
        state: ``met`` or ``missed``; ``undecided`` where the 95 % interval holds the demanded number.
    """

    text: str
    state: Literal["met", "missed", "undecided"]


class Criterion(NamedTuple):
    """One light of the first page.

    Attributes:
        name: which.
        has_failed: whether some check found the samples worse than real data; None where nothing could be checked.
        headline: name of the measurement to print with it; "" for none.
        checks: what was compared.
        targets: what the user demands.
        why_not: why nothing was checked; "" otherwise.
    """

    name: CriterionName
    has_failed: bool | None
    headline: str
    checks: Sequence[Check] = ()
    targets: Sequence[Target] = ()
    why_not: str = ""


class Recommendation(NamedTuple):
    """What to try next.

    Attributes:
        title: the thing to do.
        reason: the figures that call for it.
        command: a command line that does it; "" where there is none yet.
    """

    title: str
    reason: str
    command: str = ""


class Report(NamedTuple):
    """Everything that was measured of one model.

    Attributes:
        data: name of the data set.
        encoder: name of the classifier whose word and features were used, or of what else judged.
        num_samples: how many samples were drawn.
        measurements: the figures, most important first within each light.
        criteria: the five criteria.
        figures: curves, tables and pictures, in the order of the page.
        actions: what to try next, most urgent first.
        left_out: ``{name: why it was not measured}``; names of measurements and of figures.
        facts: more to print about the model, ``{"checkpoint": "step 2000"}``.
    """

    data: str
    encoder: str
    num_samples: int
    measurements: Sequence[Measurement]
    criteria: Sequence[Criterion] = ()
    figures: Sequence[Figure] = ()
    recommendations: Sequence[Recommendation] = ()
    left_out: Mapping[str, str] = {}
    facts: Mapping[str, str] = {}

    def find(self, name: str) -> Measurement | None:
        """The measurement of that name, None where it was left out."""
        return next((m for m in self.measurements if m.name == name), None)

    def criterion(self, name: CriterionName) -> Criterion | None:
        """The light of that name."""
        return next((criterion for criterion in self.criteria if criterion.name == name), None)


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; ``docs/report.md`` describes them.

    Args:
        report: what was measured.

    Returns:
        A dict of strings, numbers, lists and None.

    >>> to_json(Report("digits", "digits classifier", 0, ()))["format"]
    3
    """
    content = {
        "format": FORMAT,
        "data": report.data,
        "encoder": report.encoder,
        "num_samples": report.num_samples,
        "facts": dict(report.facts),
        "criteria": [_criterion_json(criterion) for criterion in report.criteria],
        "measurements": [m._asdict() for m in report.measurements],
        "figures": [figure_json(figure) for figure in report.figures],
        "actions": [action._asdict() for action in report.recommendations],
        "left_out": dict(report.left_out),
    }
    return plain(content)


def _criterion_json(criterion: Criterion) -> dict[str, Any]:
    checks, targets = ([item._asdict() for item in items] for items in (criterion.checks, criterion.targets))
    return {**criterion._asdict(), "checks": checks, "targets": targets}


_KINDS: dict[str, Any] = {kind.__name__.lower(): kind for kind in (Lines, Bars, Histogram, Matrix, Table, Gallery)}
_PARTS: dict[str, Any] = {"series": Series, "bars": Bar}


def from_json(content: Any) -> Report:
    """A report as it was before it was written.

    Args:
        content: what ``to_json`` gave; keys that this version does not know are left alone.

    Returns:
        The report; its galleries have no pixels, those are in the page.

    Raises:
        UsageError: of another format, or no report at all.

    >>> from_json({"format": 1})
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: expected a report of format 3, got format 1: evaluate the run again
    """
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        what = "no report" if found is None else f"format {found}"
        raise UsageError(f"expected a report of format {FORMAT}, got {what}: evaluate the run again")
    try:
        return Report(
            data=content["data"],
            encoder=content["encoder"],
            num_samples=content["num_samples"],
            measurements=[_measurement(row) for row in content["measurements"]],
            criteria=[_criterion(row) for row in content["criteria"]],
            figures=[_figure(row) for row in content["figures"]],
            recommendations=[_made(Recommendation, row) for row in content["actions"]],
            left_out=content["left_out"],
            facts=content["facts"],
        )
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"expected a report of format {FORMAT}, got one in which {error} is wrong: evaluate the run again"
        ) from error


def _made(kind: Any, row: Mapping[str, Any]) -> Any:
    """A later version may write more keys."""
    return kind(**{name: value for name, value in row.items() if name in kind._fields})


def _measurement(row: Mapping[str, Any]) -> Measurement:
    # JSON has no NaN: a value that is none is null there.
    return _made(Measurement, {**row, "value": math.nan if row["value"] is None else row["value"]})


def _criterion(row: Mapping[str, Any]) -> Criterion:
    checks, targets = [_made(Check, c) for c in row["checks"]], [_made(Target, t) for t in row["targets"]]
    return _made(Criterion, {**row, "checks": checks, "targets": targets})


def _figure(row: Mapping[str, Any]) -> Figure:
    values = {
        name: [_made(_PARTS[name], part) for part in value] if name in _PARTS else value for name, value in row.items()
    }
    if row["kind"] == "gallery":
        values["groups"] = [np.zeros((len(labels), 0, 0, 1), np.uint8) for labels in row["labels"]]
    return _made(_KINDS[row["kind"]], values)
