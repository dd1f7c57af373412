"""Gates: limits on measurements, written down in a TOML file.

A table per measurement, any of four bounds in each::

    [class_agreement]
    min = 0.98        # of the value
    min_low = 0.97    # of the lower end of its 95 % interval
    [frechet_distance]
    max = 20

and one table of margins, by how many percentage points samples may be worse than held-out data::

    [criteria]
    class_agreement = 2
"""

from __future__ import annotations

import reprlib
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from aigc_jax.data.files import read_text, unreadable, visible
from aigc_jax.report.criteria import COMPARISONS, MAX_MARGIN, Margins
from aigc_jax.report.measurements import MEASUREMENTS, CriterionName, Measurement
from aigc_jax.report.schema import Report, Target
from aigc_jax.report.verdicts import in_words
from aigc_jax.types import UsageError


class Gates(NamedTuple):
    """What a user demands."""

    bounds: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    """``{measurement: {bound: number}}``."""
    margins: Margins = MappingProxyType({})
    """``{comparison: percentage points}`` in place of the default."""


_BOUNDS = {"min": "value", "max": "value", "min_low": "low", "max_high": "high"}
"""The attribute of a measurement that each bound limits."""

_WORDS = {"value": "", "low": "lower end of the interval ", "high": "upper end of the interval "}


def read_gates(path: str | Path) -> Gates:
    """Read a gate file, a TOML file of bounds by measurement and of margins by comparison."""
    text, name = read_text(Path(path), advice="name a TOML file of gates"), visible(str(path))
    advice = "write [class_agreement] and min = 0.98, for example"
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise unreadable(Path(path), ValueError(f"not TOML: {reason}"), advice) from error
    if not any(content.values()):
        raise UsageError(f"{name} sets no limit: {advice}")
    margins = content.pop("criteria", {})
    bounds = {each: _read_bounds(each, bounds, name) for each, bounds in content.items()}
    return Gates(bounds, _read_margins(margins, name))


def _read_margins(margins: Any, path: str) -> dict[str, float]:
    known = [name for name, kind in COMPARISONS.items() if kind.margin]
    if not isinstance(margins, dict):
        raise UsageError(f"{path} sets criteria to a value: write [criteria] and {known[0]} = ... below it")
    for name, number in margins.items():
        if name not in known:
            raise UsageError(f"{path} sets the margin of an unknown comparison {name!r}: use one of {', '.join(known)}")
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= MAX_MARGIN:
            raise UsageError(
                f"{path} sets the margin of {name} to {reprlib.repr(number)}: write percentage points in (0, 100]"
            )
    return {name: float(number) for name, number in margins.items()}


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
    for name, bounds in gates.bounds.items():
        row = report.find(name)
        for bound, number in bounds.items():
            value, expected = None if row is None else getattr(row, _BOUNDS[bound]), f"expected {_at(bound, number)}"
            if value is None:
                lines.append(f"{name} was not measured ({report.left_out.get(name, 'not in the report')}), {expected}")
            elif not _holds(value, bound, number):
                words = f"{_WORDS[_BOUNDS[bound]]}{value:.4g}, {expected}{_of_real_data(row, bound, number)}"
                lines.append(f"{name}: {words}")
    checks = [check for criterion in report.criteria for check in criterion.checks]
    for name, margin in gates.margins.items():
        own = [check for check in checks if check.name == name]
        lines += [] if own else [f"{name} was not compared with real data, expected at most {margin:g} points more"]
        for check in own:
            if check.state != "pass":
                lines.append("; ".join(filter(None, (f"{name}: {in_words(check)}", check.advice))))
    return lines


def targets(report: Report, gates: Gates) -> dict[CriterionName, list[Target]]:
    """The gates as targets of their criteria; one that was not measured is missed.

    A bound on a value is undecided where the 95 % interval contains it: another thousand samples could turn the
    decision. A bound on an end of the interval is decided by that end.
    """
    found: dict[CriterionName, list[Target]] = {}
    for name, bounds in gates.bounds.items():
        for bound, number in bounds.items():
            text = f"{name}: {_WORDS[_BOUNDS[bound]]}{_at(bound, number)}"
            target = _target(report.find(name), text, bound, number)
            found.setdefault(MEASUREMENTS[name].criterion, []).append(target)
    return found


def _of_real_data(row: Measurement | None, bound: str, number: float) -> str:
    """Words on a bound that real data miss: no model can be asked to meet it."""
    if row is None or row.reference is None or _BOUNDS[bound] != "value" or _holds(row.reference, bound, number):
        return ""
    return f", which real data miss at n = {row.n} ({row.reference:.4g})"


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
    text += _of_real_data(row, bound, number)
    return Target(text, "met" if _holds(getattr(row, _BOUNDS[bound]), bound, number) else "missed")


def _holds(value: float | None, bound: str, number: float) -> bool:
    """Not the reverse comparison: a NaN passes neither."""
    if value is None:
        return False
    return value >= number if bound.startswith("min") else value <= number
