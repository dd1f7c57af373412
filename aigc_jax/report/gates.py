"""Gates: figures that a model must reach, written down in a TOML file.

A table per measurement, any of four bounds in each::

    [class_agreement]
    min = 0.98        # the figure itself
    min_low = 0.97    # the lower end of its 95 % interval
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

from aigc_jax.data.files import read_text
from aigc_jax.report.measurements import MEASUREMENTS, CriterionName, Measurement
from aigc_jax.report.schema import Report, Target
from aigc_jax.types import UsageError

Gates = Mapping[str, Mapping[str, float]]
"""``{measurement: {bound: number}}``."""

_BOUNDS = {"min": "value", "max": "value", "min_low": "low", "max_high": "high"}
"""Each bound and the attribute of a measurement that it holds to."""

_WORDS = {"value": "", "low": "lower end of the interval ", "high": "upper end of the interval "}


def read_gates(path: str | Path) -> Gates:
    """Read a gate file.

    Args:
        path: a TOML file.

    Returns:
        The bounds by measurement.

    Raises:
        UsageError: no such file, no TOML, no bound at all, or a name, bound or number that is none.

    >>> read_gates("no-such-gates.toml")
    Traceback (most recent call last):
    ...
    aigc_jax.types.UsageError: cannot read no-such-gates.toml (No such file or directory): name a TOML file of gates
    """
    text = read_text(Path(path), advice="name a TOML file of gates")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is no TOML file ({reason}): write [class_agreement] and min = 0.98, say") from error
    if not any(content.values()):
        raise UsageError(f"{path} demands nothing: write [class_agreement] and min = 0.98, say")
    return {name: _read_bounds(name, bounds, path) for name, bounds in content.items()}


def _read_bounds(name: str, bounds: Any, path: str | Path) -> dict[str, float]:
    if name not in MEASUREMENTS:
        raise UsageError(f"{path} names the measurement {name!r}, which is not known: use {', '.join(MEASUREMENTS)}")
    known = [bound for bound, end in _BOUNDS.items() if end == "value" or MEASUREMENTS[name].has_interval]
    if not isinstance(bounds, dict) or not bounds:
        raise UsageError(f"{path} sets no bound on {name}: write [{name}] and {known[0]} = ... below it")
    for bound, number in bounds.items():
        if bound not in known:
            raise UsageError(f"{path} sets {bound!r} on {name}, which is not known: use {', '.join(known)}")
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not abs(number) <= sys.float_info.max:  # an integer of TOML has any number of digits
            raise UsageError(f"{path} sets {bound} on {name} to {reprlib.repr(number)}: write a number")
    return {bound: float(number) for bound, number in bounds.items()}


def check_gates(report: Report, gates: Gates) -> list[str]:
    """Which gates a model fails.

    Args:
        report: what was measured.
        gates: what it shall reach, from :func:`read_gates`.

    Returns:
        One line per failure, none when all is reached. A figure that was not measured fails.

    >>> report = Report("digits", "digits-classifier", 9, [], left_out={"worst_class": "unconditional"})
    >>> check_gates(report, {"worst_class": {"min": 0.9}})
    ['worst_class was not measured (unconditional), but shall be at least 0.9']
    """
    return [
        line
        for name, bounds in gates.items()
        for bound, number in bounds.items()
        if (line := _check(report, name, bound, number)) is not None
    ]


def targets(report: Report, gates: Gates) -> dict[CriterionName, list[Target]]:
    """What a model's lights say of the gates.

    A bound on the figure itself is undecided where it lies within the 95 % interval: another thousand samples could
    turn it. A bound on an end of the interval is decided by that end.

    Args:
        report: what was measured; its lights are not needed.
        gates: what it shall reach, from :func:`read_gates`.

    Returns:
        The targets of each light that has any. One that was not measured is missed.

    >>> figure = Measurement("class_agreement", "", 0.985, 1000, "share", "", 0.9754, 0.9916)
    >>> found = targets(Report("digits", "", 1000, [figure]), {"class_agreement": {"min": 0.98, "min_low": 0.97}})
    >>> [target.state for target in found["follows_condition"]]
    ['undecided', 'met']
    """
    found: dict[CriterionName, list[Target]] = {}
    for name, bounds in gates.items():
        for bound, number in bounds.items():
            found.setdefault(MEASUREMENTS[name].criterion, []).append(_target(report, name, bound, number))
    return found


def _target(report: Report, name: str, bound: str, number: float) -> Target:
    figure = report.find(name)
    text = f"{name}: {_WORDS[_BOUNDS[bound]]}at {'least' if bound.startswith('min') else 'most'} {number:g}"
    if figure is None:
        return Target(f"{text} (not measured)", "missed")
    if _BOUNDS[bound] == "value" and figure.low is not None and figure.high is not None:
        # The end of the interval that is worst, and the one that is best, for this bound.
        worst, best = (figure.low, figure.high) if bound == "min" else (figure.high, figure.low)
        if _holds(best, bound, number) and not _holds(worst, bound, number):
            return Target(text, "undecided")
    return Target(text, "met" if _holds(_value(figure, bound), bound, number) else "missed")


def _check(report: Report, name: str, bound: str, number: float) -> str | None:
    wanted = f"shall be at {'least' if bound.startswith('min') else 'most'} {number:g}"
    value = _value(report.find(name), bound)
    if value is None:
        return f"{name} was not measured ({report.left_out.get(name, 'no such figure')}), but {wanted}"
    return None if _holds(value, bound, number) else f"{name}: {_WORDS[_BOUNDS[bound]]}{value:.4g} {wanted}"


def _value(figure: Measurement | None, bound: str) -> float | None:
    return None if figure is None else getattr(figure, _BOUNDS[bound])


def _holds(value: float | None, bound: str, number: float) -> bool:
    """Not the reverse comparison: a NaN passes neither."""
    if value is None:
        return False
    return value >= number if bound.startswith("min") else value <= number
