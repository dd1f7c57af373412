"""A report from its JSON form: the way back from :func:`aigc_jax.report.report.to_json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from aigc_jax.report.figures import Bar, Bars, Figure, Gallery, Histogram, Lines, Matrix, Series, Table
from aigc_jax.report.report import FORMAT, Action, Check, Lamp, Measurement, Report, Target
from aigc_jax.types import UsageError

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
    aigc_jax.types.UsageError: expected a report of format 2, got format 1: evaluate the run again
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
            lamps=[_lamp(row) for row in content["lamps"]],
            figures=[_figure(row) for row in content["figures"]],
            actions=[_made(Action, row) for row in content["actions"]],
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


def _lamp(row: Mapping[str, Any]) -> Lamp:
    checks, targets = [_made(Check, c) for c in row["checks"]], [_made(Target, t) for t in row["targets"]]
    return _made(Lamp, {**row, "checks": checks, "targets": targets})


def _figure(row: Mapping[str, Any]) -> Figure:
    values = {
        name: [_made(_PARTS[name], part) for part in value] if name in _PARTS else value for name, value in row.items()
    }
    if row["kind"] == "gallery":
        values["groups"] = [np.zeros((len(labels), 0, 0, 1), np.uint8) for labels in row["labels"]]
    return _made(_KINDS[row["kind"]], values)
