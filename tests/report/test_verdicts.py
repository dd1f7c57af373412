"""Verdicts: the user's targets decide where there are any, the comparison with real data elsewhere."""

import itertools

import pytest

from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Criterion, Report, Target
from aigc_jax.report.verdicts import describe, summary, verdicts_of
from tests.report.example import REPORT

STATES = ("met", "undecided", "missed")


def criterion(has_failed, *states):
    return Criterion("valid", has_failed, "", (), [Target("valid_samples: at least 1", state) for state in states])


@pytest.mark.parametrize(
    ("has_failed", "kind", "word"),
    [
        (True, "worse", "worse than real data"),
        (False, "alike", "not distinguishable from real data at n = 9"),
        (None, "unknown", "not measured"),
    ],
)
def test_describe_compares_with_real_data_without_targets(has_failed, kind, word):
    said = describe(criterion(has_failed), 9)
    assert (said.kind, said.word, said.comparison) == (kind, word, "")
    assert "good" not in said.word  # that is not ours to say


@pytest.mark.parametrize("has_failed", [True, False, None])
@pytest.mark.parametrize("states", [c for n in (1, 2, 3) for c in itertools.product(STATES, repeat=n)])
def test_describe_goes_by_the_worst_target(has_failed, states):
    said = describe(criterion(has_failed, *states))
    assert said.kind == max(states, key=STATES.index)
    assert said.comparison == describe(criterion(has_failed)).word
    if len(states) == 1:
        assert said.word == f"target {said.kind}"
    else:
        count = f"all {len(states)}" if said.kind == "met" else f"{states.count(said.kind)} of {len(states)}"
        assert said.word == f"{count} targets {said.kind}"


def test_verdicts_of_are_in_the_order_of_the_page():
    shuffled = REPORT._replace(criteria=REPORT.criteria[::-1])
    assert [criterion.name for criterion, _ in verdicts_of(shuffled)] == list(CRITERION_TITLES)
    assert [said.kind for _, said in verdicts_of(REPORT)] == ["worse", "undecided", "alike", "unknown", "missed"]


def test_summary_words():
    assert summary(REPORT) == (
        "Worse than real data in 1 of 5 criteria (Valid); not distinguishable from real data in 3; "
        "not measured: Not copied; of your 3 targets, 1 missed, 1 undecided, 1 met."
    )
    passed = [Criterion(name, False, "") for name in CRITERION_TITLES]
    assert summary(Report("", "", 1, (), passed)) == "Not distinguishable from real data in 5 of 5 criteria."
    assert summary(Report("", "", 1, (), [criterion(None)])) == "Not measured: Valid."
    assert summary(Report("", "", 1, (), [criterion(True, "met")])) == (
        "Worse than real data in 1 of 1 criteria (Valid); your target is met."
    )
    assert summary(Report("", "", 1, ())) == ""
