"""Comparisons with a margin: right intervals, right outcomes, and error rates as stated."""

import numpy as np
import pytest

from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import (
    FAMILY_ERROR,
    Comparison,
    checks_of,
    decide,
    never,
    num_to_decide,
    worst_state,
)
from aigc_jax.metrics.differences import (
    Interval,
    mean_difference,
    repeat_difference,
    share_difference,
    stratified_shares,
)
from aigc_jax.report.criteria import COMPARISONS
from aigc_jax.report.measurements import CRITERION_TITLES

RNG = np.random.default_rng(0)


def test_share_of_zero_in_few_samples_decides_nothing():
    assert decide(share_difference(0, 60, 0, 60).interval(0.005), 0.02) == "undecided"
    assert decide(share_difference(0, 1000, 0, 1000).interval(0.005), 0.02) == "pass"


@pytest.mark.parametrize(
    ("low", "high", "state"), [(-1.0, 2.0, "pass"), (2.1, 3.0, "fail"), (1.0, 3.0, "undecided"), (-9.0, -3.0, "pass")]
)
def test_decide_takes_the_whole_interval(low, high, state):
    assert decide(Interval(0.0, low, high), 2.0) == state


CASES = {
    "share": lambda n: share_difference(round(0.04 * n), n, 20, 4000),
    "no case": lambda n: share_difference(0, n, 0, 4000),
    "blocks": lambda n: mean_difference(np.tile([0.1, 0.2], n // 2), np.tile([0.11, 0.19], 500), 100),
    "repetitions": lambda n: repeat_difference(np.arange(n), np.arange(10_000)),
}


@pytest.mark.parametrize(
    ("kind", "n", "margin"), [("share", 500, 0.05), ("no case", 60, 0.02), ("repetitions", 60, 0.01)]
)
def test_num_to_decide_decides_and_hardly_fewer_would(kind, n, margin):
    case, error = CASES[kind], 0.005
    assert decide(case(n).interval(error), margin) == "undecided"
    needed = num_to_decide(case(n), margin, error)
    assert decide(case(round(1.1 * needed)).interval(error), margin) == "pass"
    assert decide(case(round(0.9 * needed)).interval(error), margin) == "undecided"


def test_num_to_decide_of_blocks():
    given = CASES["blocks"](10)
    needed = num_to_decide(given, 0.02, 0.005)
    num = 2 * round(needed / 200)  # blocks
    assert (decide(given.interval(0.005), 0.02), given.n) == ("undecided", 1000)
    assert decide(CASES["blocks"](round(1.2 * num)).interval(0.005), 0.02) == "pass"
    assert decide(CASES["blocks"](round(0.8 * num)).interval(0.005), 0.02) == "undecided"


def test_num_to_decide_is_none_where_held_out_examples_are_too_few():
    assert num_to_decide(share_difference(20, 500, 4, 100), 0.02, 0.005) is None
    assert num_to_decide(share_difference(30, 1000, 0, 0), 0.03, 0.005) is None  # exactly at the margin


def test_checks_of_share_one_error_over_comparisons_alone():
    comparison = Comparison("invalid_samples", share_difference(0, 500, 0, 5000))
    for num in (1, 2, 10):
        # Checks that estimate nothing cost nothing.
        given = [*[comparison] * num, *[never("repeatability", "changed", 0, 64)] * 7]
        found = checks_of(given, {})["valid"]
        expected = comparison.difference.interval(FAMILY_ERROR / num)
        assert [(check.low, check.high) for check in found] == [(expected.low, expected.high)] * num
    # One comparison decides what it could not decide among many.
    assert [checks_of([comparison] * num, {})["valid"][0].state for num in (1, 50)] == ["pass", "undecided"]


def test_checks_of_goes_to_the_criterion_of_each_with_its_margin():
    difference = share_difference(30, 1000, 10, 5000)
    given = [Comparison(name, difference, "here") for name, kind in COMPARISONS.items() if kind.margin]
    found = checks_of([*given, never("repeatability", "changed", 1, 64)], {"recall": 1.5})
    assert list(found) == list(CRITERION_TITLES)
    for criterion, checks in found.items():
        for check in checks:
            kind = COMPARISONS[check.name]
            assert kind.criterion == criterion
            assert check.margin == pytest.approx(0.015 if check.name == "recall" else kind.margin / 100)
            assert (check.name == "repeatability") or check.title == f"{kind.title}: here"
    assert worst_state(found["consistent"]) == "fail"
    assert worst_state([]) is None


def advice_of(difference, name="recall"):
    (check,) = checks_of([Comparison(name, difference)], {})[COMPARISONS[name].criterion]
    return check.state, check.advice


def test_checks_advise_how_to_decide():
    assert advice_of(share_difference(0, 60, 0, 5000), "invalid_samples") == (
        "undecided",
        "about 310 samples would decide, there were 60",
    )
    few = "held-out examples cannot decide it: more of them would, or a wider margin in [criteria] of --gate"
    assert advice_of(share_difference(3, 60, 2, 50), "invalid_samples") == ("undecided", f"50 {few}")
    assert advice_of(mean_difference(np.ones(2), np.ones(9), BLOCK)) == (
        "undecided",
        "needs 300 samples or more, there are 200",
    )
    assert advice_of(mean_difference(np.ones(9), np.ones(2), BLOCK)) == (
        "undecided",
        "needs 300 held-out examples or more, there are 200",
    )
    other = stratified_shares(np.array([True]), np.array([0]), np.array([False]), np.array([1]))
    assert advice_of(other) == ("undecided", "no sample and held-out example have a class in common")
    assert advice_of(share_difference(0, 5000, 0, 5000)) == ("pass", "")
