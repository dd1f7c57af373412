"""Numbers as text: shares in percent, bounds where a count is zero or complete, distances, p-values."""

from __future__ import annotations

import math

from aigc_jax.report.measurements import Measurement


def format_share(value: float) -> str:
    """A share in percent: two digits of small ones, enough digits to tell large ones from 1."""
    return f"{_percent(value)} %"


def format_distance(value: float) -> str:
    """A distance, a score or nats with three digits, without an exponent where possible."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_unit(measurement: Measurement) -> str:
    """The unit to print behind a value, with its space; "" where the value has it already."""
    return {"nats": " nats", "decibel": " dB"}.get(measurement.unit, "")


def format_value(measurement: Measurement) -> str:
    """A value as text; none or all of n samples is printed as a bound."""
    if not math.isfinite(measurement.value):
        return "no number"
    if measurement.unit != "share":
        return format_distance(measurement.value)
    return format_count_share(measurement.value, measurement.n, measurement.low, measurement.high)


def format_count_share(value: float, n: int, low: float | None = None, high: float | None = None) -> str:
    """A share of n samples; exactly 0 or 1 is printed as its one-sided 95 % bound.

    An end ``low`` or ``high`` of its two-sided interval that is not the exact one of n independent samples (a share
    corrected for the classifier's errors has a wider one) is itself the bound.

    Reference:
        Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 1983.

    >>> format_count_share(0.0, 100), format_count_share(1.0, 8, 0.6306, 1.0), format_count_share(0.5, 8)
    ('below 3.0 %', 'at least 68 %', '50.0 %')
    """
    if value == 0 and n > 0:
        return f"below {_rounded_up(_bound(n, high))} %"
    # Without an interval, all of them is a plain count: 8 of 8 modes.
    if value == 1 and low is not None:
        bound = _rounded_up(_bound(n, 1 - low))
        decimals = len(bound.partition(".")[2])
        return f"at least {100 - float(bound):.{decimals}f} %"
    return format_share(value)


def format_interval(measurement: Measurement) -> str:
    """The 95 % interval, "97.5 to 99.2 %"; "" for none."""
    low, high = measurement.low, measurement.high
    if low is None or high is None:
        return ""
    if measurement.unit == "share":
        return f"{_percent(low)} to {_percent(high)} %"
    return f"{format_distance(low)} to {format_distance(high)}"


def format_reference(measurement: Measurement) -> str:
    """The reference; "" where there is none."""
    if measurement.reference is None:
        return ""
    if measurement.unit != "share":
        return format_distance(measurement.reference)
    return format_share(measurement.reference) if measurement.reference else "none found"


def format_points(difference: float) -> str:
    """A difference of shares in percentage points, without the unit.

    >>> format_points(0.0123), format_points(-0.2), format_points(-1e-5)
    ('1.2', '-20.0', '0.0')
    """
    return f"{round(100 * difference, 1) + 0.0:.1f}"


def _percent(value: float) -> str:
    """Without the sign: one decimal, more where one would read as 0 or as 100."""
    decimals, rest = 1, 100 * (1 - value)
    if 0 < value < 0.01:
        decimals = 1 - math.floor(math.log10(100 * value))
    elif 0 < rest < 0.1:
        decimals = -math.floor(math.log10(rest))
    return f"{100 * value:.{min(decimals, 9)}f}"


def _bound(n: int, two_sided: float | None) -> float:
    """The one-sided 95 % bound for no case among n, 1 - 0.05^(1/n), in percent."""
    exact = -math.expm1(math.log(0.025) / n) if n > 0 else math.inf
    if two_sided is not None and not math.isclose(two_sided, exact, rel_tol=0.01):
        return 100 * two_sided
    return -100 * math.expm1(math.log(0.05) / n)


def _rounded_up(percent: float) -> str:
    """Two digits, upwards: a bound must not promise more than it holds."""
    if percent <= 0:
        return "0"
    decimals = max(1 - math.floor(math.log10(percent)), 0)
    scaled = percent * 10**decimals
    return f"{math.ceil(scaled - 1e-9) / 10**decimals:.{decimals}f}"
