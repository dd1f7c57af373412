"""Gates: limits on measurements, written down in a TOML file.

A table per measurement, any of four bounds in each::

    [class_agreement]
    min = 0.98        # of the value
    min_low = 0.97    # of the lower end of its 95 % interval
    [frechet_distance]
    max = 20
"""

from __future__ import annotations

import reprlib
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aigc_jax.data.files import read_text, unreadable, visible
from aigc_jax.report.measurements import MEASUREMENTS, CriterionName, Measurement
from aigc_jax.report.schema import Report, Target
from aigc_jax.types import UsageError

Gates = Mapping[str, Mapping[str, float]]
"""``{measurement: {bound: number}}``."""

_BOUNDS = {"min": "value", "max": "value", "min_low": "low", "max_high": "high"}
"""The attribute of a measurement that each bound limits."""

_WORDS = {"value": "", "low": "lower end of the interval ", "high": "upper end of the interval "}


def read_gates(path: str | Path) -> Gates:
    """Read a gate file, a TOML file of bounds by measurement."""
    text, name = read_text(Path(path), advice="name a TOML file of gates"), visible(str(path))
    advice = "write [class_agreement] and min = 0.98, for example"
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise unreadable(Path(path), ValueError(f"not TOML: {reason}"), advice) from error
    if not any(content.values()):
        raise UsageError(f"{name} sets no limit: {advice}")
    return {each: _read_bounds(each, bounds, name) for each, bounds in content.items()}


def _read_bounds(name: str, bounds: Any, path: str) -> dict[str, float]:
    if name not in MEASUREMENTS:
        raise UsageError(f"{path} names an unknown measurement {name!r}: use one of {', '.join(MEASUREMENTS)}")
    known = [bound for bound, end in _BOUNDS.items() if end == "value" or MEASUREMENTS[name].has_interval]
    if not isinstance(bounds, dict) or not bounds:
        raise UsageError(f"{path} sets no bound on {name}: write [{name}] and {known[0]} = ... below it")
    for bound, number in bounds.items():
        if bound not in known:
            raise UsageError(f"{path} sets an unknown bound {bound!r} on {name}: use {', '.join(known)}")
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
            raise UsageError(f"{path} sets {bound} on {name} to {reprlib.repr(number)}: write a finite number")
    return {bound: float(number) for bound, number in bounds.items()}


def check_gates(report: Report, gates: Gates) -> list[str]:
    """The gates that a model fails, one line each; a measurement that was left out fails."""
    lines = []
    for name, bounds in gates.items():
        row = report.find(name)
        for bound, number in bounds.items():
            value, expected = None if row is None else getattr(row, _BOUNDS[bound]), f"expected {_at(bound, number)}"
            if value is None:
                lines.append(f"{name} was not measured ({report.left_out.get(name, 'not in the report')}), {expected}")
            elif not _holds(value, bound, number):
                lines.append(f"{name}: {_WORDS[_BOUNDS[bound]]}{value:.4g}, {expected}")
    return lines


def targets(report: Report, gates: Gates) -> dict[CriterionName, list[Target]]:
    """The gates as targets of their criteria; one that was not measured is missed.

    A bound on a value is undecided where the 95 % interval contains it: another thousand samples could turn the
    decision. A bound on an end of the interval is decided by that end.
    """
    found: dict[CriterionName, list[Target]] = {}
    for name, bounds in gates.items():
        for bound, number in bounds.items():
            text = f"{name}: {_WORDS[_BOUNDS[bound]]}{_at(bound, number)}"
            target = _target(report.find(name), text, bound, number)
            found.setdefault(MEASUREMENTS[name].criterion, []).append(target)
    return found


def _at(bound: str, number: float) -> str:
    return f"at {'least' if bound.startswith('min') else 'most'} {number:g}"


def _target(row: Measurement | None, text: str, bound: str, number: float) -> Target:
    if row is None:
        return Target(f"{text} (not measured)", "missed")
    if _BOUNDS[bound] == "value" and row.low is not None and row.high is not None:
        # The end of the interval that is worst, and the one that is best, for this bound.
        worst, best = (row.low, row.high) if bound == "min" else (row.high, row.low)
        if _holds(best, bound, number) and not _holds(worst, bound, number):
            return Target(text, "undecided")
    return Target(text, "met" if _holds(getattr(row, _BOUNDS[bound]), bound, number) else "missed")


def _holds(value: float | None, bound: str, number: float) -> bool:
    """Not the reverse comparison: a NaN passes neither."""
    if value is None:
        return False
    return value >= number if bound.startswith("min") else value <= number
