"""What a report holds, and its JSON form.

``docs/report.md`` describes ``report.json`` key by key; a number that does not exist is null, never NaN. A later
``format`` may rename or drop keys; new keys alone do not raise it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from aigc_jax.report.figures import (
    Bars,
    Figure,
    Gallery,
    Histogram,
    Lines,
    Matrix,
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
        report = _typed(Report, {**content, "recommendations": content.get("actions")}, "the report")
        for row in report.measurements:
            ends = [end for end in (row.value, row.low, row.high) if end is not None and not math.isnan(end)]
            if row.n < 0 or (row.unit == "share" and not all(0 <= end <= 1 for end in ends)):
                raise _MismatchError(f"{row.name} is out of range")
        return report
    except _MismatchError as error:
        raise UsageError(
            f"expected a report of format {FORMAT}, got one in which {error}: evaluate the run again"
        ) from None


class _MismatchError(Exception):
    """A value that is not of the annotated type."""


def _typed(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as the type of an annotation. A later version may write more keys; NaN is null in JSON."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    is_list, is_object = isinstance(value, list | tuple), isinstance(value, Mapping)
    if hint == Figure and is_object:
        return _figure(value, where)
    if hasattr(hint, "_fields") and is_object:
        return _record(hint, value, where)
    if origin in (typing.Union, types.UnionType):
        for choice in sorted(arguments, key=lambda choice: choice is not type(value)):
            with contextlib.suppress(_MismatchError):
                return _typed(choice, value, where)
    elif origin is Sequence and is_list:
        return [_typed(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    elif origin is Mapping and is_object:
        return {name: _typed(arguments[1], item, f"{where}[{reprlib.repr(name)}]") for name, item in value.items()}
    elif (
        isinstance(value, np.ndarray)
        or (origin is Literal and value in arguments)
        or (hint is float and type(value) in (int, float))
    ):
        return value
    elif hint is float and value is None:
        return math.nan
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise _MismatchError(f"{where} is {reprlib.repr(value)}")


_hints = functools.cache(typing.get_type_hints)


def _record(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    hints = _hints(kind)
    if missing := [name for name in kind._fields if name not in values and name not in kind._field_defaults]:
        raise _MismatchError(f"{where} has no {missing[0]}")
    return kind(
        **{name: _typed(hints[name], values[name], f"{name} of {where}") for name in kind._fields if name in values}
    )


def _figure(row: Mapping[str, Any], where: str) -> Figure:
    kind = _KINDS.get(str(row.get("kind")))
    if kind is None:
        raise _MismatchError(f"{where} is of no known kind")
    if kind is Gallery:
        labels = _typed(Sequence[Sequence[str]], row.get("labels"), f"labels of {where}")
        row = {**row, "groups": [np.zeros((len(words), 0, 0, 1), np.uint8) for words in labels]}
    return _record(kind, row, where)
