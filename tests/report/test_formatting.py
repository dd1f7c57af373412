"""Numbers as text: none and all of n are bounds, and small shares are not rounded to 0."""

import math

import pytest
from scipy import stats

from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.report.formatting import (
    format_count_share,
    format_distance,
    format_interval,
    format_points,
    format_reference,
    format_share,
    format_value,
)
from aigc_jax.report.measurements import Measurement


def share(count, n, **more):
    return Measurement("copied_samples", "", count / n, n, "share", "", *clopper_pearson(count, n), **more)


def number(words):
    return float(words.removeprefix("below ").removeprefix("at least ").removesuffix(" %")) / 100


# The handbook: 2.95 % at 100, 0.30 % at 1,000, 0.030 % at 10,000.
@pytest.mark.parametrize(("n", "words"), [(100, "3.0"), (1000, "0.30"), (10_000, "0.030"), (1, "95")])
def test_format_value_of_none_is_an_upper_bound(n, words):
    assert format_value(share(0, n)) == f"below {words} %"


@pytest.mark.parametrize("n", [2, 3, 8, 10, 64, 99, 500, 1000, 4321, 50_000])
def test_format_value_bounds_are_exact(n):
    """By the exact test: a share at the bound gives this outcome with probability 5 %, less what rounding takes."""
    none, every = (number(format_value(share(count, n))) for count in (0, n))
    for chance in (stats.binom.cdf(0, n, none), stats.binom.sf(n - 1, n, every)):
        assert 0.03 < chance <= 0.05


def test_format_count_share_takes_wider_intervals_as_bounds():
    assert format_count_share(0.0, 1000, 0.0, 0.02) == "below 2.0 %"
    assert format_count_share(1.0, 1000, 0.97, 1.0) == "at least 97.0 %"
    assert format_count_share(1.0, 1000) == "100.0 %"  # a plain count, such as 8 of 8 modes
    assert format_count_share(0.0, 0) == "0.0 %"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.985, "98.5 %"),
        (0.01, "1.0 %"),
        (0.0099, "0.99 %"),
        (0.00002, "0.0020 %"),
        (0.9994, "99.94 %"),
        (0.99996, "99.996 %"),
        (0.994, "99.4 %"),
        (-0.02, "-2.0 %"),
        (1.25, "125.0 %"),
    ],
)
def test_format_share_never_rounds_to_0_or_100(value, words):
    assert format_share(value) == words


def test_format_value_of_other_units():
    distance = Measurement("frechet_distance", "", 3.728, 1000, "distance", "", 3.1, 4.26, 3.493)
    assert (format_value(distance), format_interval(distance), format_reference(distance)) == (
        "3.73",
        "3.1 to 4.26",
        "3.49",
    )
    assert format_value(distance._replace(value=0.0)) == "0"
    assert format_value(distance._replace(value=math.nan)) == "no number"
    assert format_distance(-0.00011) == "-0.00011"
    assert (format_interval(distance._replace(low=None)), format_reference(distance._replace(reference=None))) == (
        "",
        "",
    )
    assert format_reference(share(3, 100, reference=0.0)) == "none found"


@pytest.mark.parametrize(
    ("difference", "words"), [(0.0123, "1.2"), (-0.0123, "-1.2"), (0.0, "0.0"), (-0.0004, "0.0"), (31.5, "3150.0")]
)
def test_format_points_of_percent(difference, words):
    assert format_points(difference) == words
