"""The content of a report and its JSON form, ``report.json``; ``docs/report.md`` describes it key by key.

A number that does not exist is null, never NaN. A later ``format`` may rename or drop keys; new keys do not raise it.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from aigc_jax.data.files import visible
from aigc_jax.report.figures import Figure, Gallery, figure_json, plain
from aigc_jax.report.measurements import CriterionName, Measurement
from aigc_jax.types import UsageError

FORMAT = 4
"""The layout of ``report.json``."""


State = Literal["pass", "fail", "undecided"]
"""Of one comparison: its whole interval within the margin, wholly beyond it, or neither."""


class Check(NamedTuple):
    """One comparison with real data that a criterion is judged by."""

    name: str
    """Its key in :data:`aigc_jax.report.criteria.COMPARISONS`."""
    title: str
    value: float
    """Of the samples; worse where larger."""
    reference: float
    """The same quantity of real data; 0 for events that are not allowed at all."""
    difference: float
    low: float | None
    """Ends of the interval of the difference; None where there are too few examples for one."""
    high: float | None
    margin: float
    """The largest difference that passes."""
    state: State
    n: int
    """Number of samples."""
    num_needed: int | None = None
    """Where undecided: the number of samples that would decide if the difference stayed as it is; None for none."""
    advice: str = ""
    """Where undecided: the same in words, or the reason why no number of samples decides."""


class Target(NamedTuple):
    """A limit that the user sets on a measurement, as text: "class_agreement: at least 0.98"."""

    text: str
    state: Literal["met", "missed", "undecided"]
    """Undecided where the 95 % interval contains the limit."""


class Criterion(NamedTuple):
    """A criterion of the first page."""

    name: CriterionName
    state: State | None
    """The worst of its checks; None where nothing was compared."""
    headline: str
    """Name of the measurement to print with it; "" for none."""
    checks: Sequence[Check] = ()
    targets: Sequence[Target] = ()
    why_not: str = ""
    """Why nothing was compared; "" otherwise."""
    is_applicable: bool = True
    """Whether it can be asked of this model: an unconditional one has no condition to follow."""


class Recommendation(NamedTuple):
    """A step to try next."""

    title: str
    reason: str
    """The measurements that call for it."""
    effect: str
    """The change to expect, and on what evidence."""
    command: str
    """The command line that does it."""


class Report(NamedTuple):
    """Everything that was measured of one model."""

    data: str
    judge: str
    """Name of the classifier, network or synthetic data set that judged the samples."""
    num_samples: int
    measurements: Sequence[Measurement]
    """Most important first within each criterion."""
    criteria: Sequence[Criterion] = ()
    figures: Sequence[Figure] = ()
    recommendations: Sequence[Recommendation] = ()
    """Most urgent first."""
    left_out: Mapping[str, str] = {}
    """``{name: reason}`` of measurements and figures that could not be made."""
    facts: Mapping[str, str] = {}
    """``{name: text}``: checkpoint, seed, sampler, versions, command."""

    def find(self, name: str) -> Measurement | None:
        """The measurement of that name, None where it was left out."""
        return next((m for m in self.measurements if m.name == name), None)

    def criterion(self, name: CriterionName) -> Criterion | None:
        """The criterion of that name."""
        return next((criterion for criterion in self.criteria if criterion.name == name), None)

    def left_out_by_reason(self) -> dict[str, list[str]]:
        """``{reason: names in words}``."""
        names: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            names.setdefault(reason, []).append(name.replace("_", " "))
        return names


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values."""
    figures = [figure_json(figure) for figure in report.figures]
    return {"format": FORMAT, **plain(report._replace(figures=())), "figures": figures}


def from_json(content: Any) -> Report:
    """A report from JSON values of any origin; keys that this version does not know are ignored."""
    found = content.get("format") if isinstance(content, dict) else None
    try:
        if found != FORMAT:
            raise ValueError("no report" if found is None else f"format {reprlib.repr(found)}")
        report = _decode(Report, content, "the report")
        for row in report.measurements:
            ends = [end for end in (row.value, row.low, row.high) if end is not None and not math.isnan(end)]
            if row.n < 0 or (row.unit == "share" and not all(0 <= end <= 1 for end in ends)):
                raise ValueError(f"one in which {row.name} is out of range")
        return report
    except ValueError as error:
        reason = visible(str(error))[:200]
        raise UsageError(f"expected a report of format {FORMAT}, got {reason}: evaluate the run again") from error


_KINDS: dict[str, Any] = {kind.__name__.lower(): kind for kind in get_args(Figure)}


def _decode(kind: Any, value: Any, place: str) -> Any:
    """A JSON value as a type of this file says; ``place`` names it in errors."""
    options = get_args(kind)
    if kind == Figure:
        return _decode_figure(value, place)
    if NoneType in options:
        return None if value is None else _decode(next(each for each in options if each is not NoneType), value, place)
    if kind is float and value is None:  # JSON has no NaN
        return math.nan
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    if get_origin(kind) is Literal and type(value) is str and value in options:
        return value
    if isinstance(value, list) and get_origin(kind) is Sequence:
        return [_decode(options[0], item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, list) and get_origin(kind) is tuple and len(value) == len(options):
        return tuple(_decode(each, item, place) for each, item in zip(options, value, strict=True))
    if isinstance(value, dict) and get_origin(kind) is Mapping:
        return {key: _decode(options[1], item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, dict) and hasattr(kind, "_fields"):
        return _decode_tuple(kind, value, place)
    raise ValueError(f"one in which {place} is {reprlib.repr(value)}")


def _decode_tuple(kind: Any, value: dict[str, Any], place: str) -> Any:
    hints = get_type_hints(kind)
    if missing := [name for name in hints if name not in value and name not in kind._field_defaults]:
        raise ValueError(f"one in which {place} has no {missing[0]}")
    return kind(**{name: _decode(hints[name], value[name], f"{name} of {place}") for name in hints if name in value})


def _decode_figure(value: Any, place: str) -> Figure:
    name = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"one in which {place} is of no known kind")
    if _KINDS[name] is not Gallery:
        return _decode_tuple(_KINDS[name], value, place)
    figure = _decode_tuple(Gallery, {**value, "groups": []}, place)
    return figure._replace(groups=[np.zeros((len(labels), 0, 0, 1), np.uint8) for labels in figure.labels])
