"""Verdicts: the user's targets decide where there are any, the margins elsewhere, and no failure stays hidden."""

import itertools

import pytest

from aigc_jax.report.criteria import COMPARISONS
from aigc_jax.report.measurements import CRITERION_TITLES
from aigc_jax.report.schema import Check, Criterion, Report, Target
from aigc_jax.report.verdicts import decision, describe, in_words, summary, verdicts_of
from tests.report.example import REPORT

STATES, STATE_WORDS = ("met", "undecided", "missed"), ("pass", "undecided", "fail")
KINDS = dict(zip(STATES, STATE_WORDS, strict=True))


def check(state="pass", difference=0.0, **changed):
    low, high = {"pass": (-0.01, 0.005), "undecided": (-0.01, 0.02), "fail": (0.02, 0.05)}[state]
    given = Check("invalid_samples", "forbidden", 0.01, 0.01, difference, low, high, 0.01, state, 900)
    return given._replace(**changed)


def criterion(state, *states, name="valid", **changed):
    targets = [Target(f"valid_samples: at least {i}", each) for i, each in enumerate(states)]
    return Criterion(name, state, "", () if state is None else [check(state)], targets)._replace(**changed)


def report(*criteria):
    return Report("digits", "", 9, (), criteria)


@pytest.mark.parametrize("name", CRITERION_TITLES)
def test_describe_compares_with_real_data_without_targets(name):
    found = [describe(criterion(state, name=name, why_not="no judge")) for state in (*STATE_WORDS, None)]
    assert [said.kind for said in found] == ["pass", "undecided", "fail", "unknown"]
    assert [said.word for said in found] == ["pass", "undecided", "fail", "not measured"]
    assert len({said.sentence for said in found}) == 4
    assert found[3].sentence == "no judge"
    assert not any("p =" in said.sentence or "significan" in said.sentence for said in found)


def test_describe_names_the_comparison_that_is_farthest_out():
    checks = [check("fail", 0.03), check("fail", 0.2, title="worst"), check("undecided", 0.9), check("pass")]
    said = describe(Criterion("valid", "fail", "", checks))
    assert said.sentence == (
        "too many samples are not valid: worst: 20.0 points more than real data (2.0 to 5.0), at most 1 allowed"
    )
    # Far beyond a wide margin is less than a little beyond a narrow one.
    checks = [check("fail", 0.08, margin=0.07, title="wide"), check("fail", 0.05, margin=0.01, title="narrow")]
    assert "narrow: 5.0 points" in describe(Criterion("valid", "fail", "", checks)).sentence


def test_describe_of_an_undecided_criterion_has_the_advice():
    checks = [check("pass"), check("undecided", 0.004, advice="about 4000 samples would decide, there were 900")]
    assert describe(Criterion("valid", "undecided", "", checks)).sentence == (
        "forbidden: 0.4 points more than real data (-1.0 to 2.0), at most 1 allowed; "
        "about 4000 samples would decide, there were 900"
    )


@pytest.mark.parametrize("state", [*STATE_WORDS, None])
@pytest.mark.parametrize("states", [c for n in (1, 2, 3) for c in itertools.product(STATES, repeat=n)])
def test_describe_goes_by_the_worst_target(state, states):
    said, worst = describe(criterion(state, *states)), max(states, key=STATES.index)
    assert said.kind == KINDS[worst]
    # A target does not hide the comparison with real data.
    assert said.sentence.endswith(f"; compared with real data: {describe(criterion(state)).word}")
    texts = said.sentence.split("; ")[:-1]
    assert texts == [f"valid_samples: at least {i}" for i, each in enumerate(states) if each == worst]
    if len(states) == 1:
        assert said.word == f"target {worst}"
    else:
        count = "all" if len(set(states)) == 1 else f"{states.count(worst)} of"
        assert said.word == f"{count} {len(states)} targets {worst}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (check("fail", 0.031), "forbidden: 3.1 points more than real data (2.0 to 5.0), at most 1 allowed"),
        (check("pass", -0.031), "forbidden: 3.1 points fewer than real data (-1.0 to 0.5), at most 1 allowed"),
        (check("pass", margin=0.025), "forbidden: 0.0 points more than real data (-1.0 to 0.5), at most 2.5 allowed"),
        (check("pass", low=-1e-5), "forbidden: 0.0 points more than real data (0.0 to 0.5), at most 1 allowed"),
        # A Fréchet distance may be far more than the variance of the data.
        (
            check("fail", 31.5, low=30.0, high=33.0),
            "forbidden: 3150.0 points more than real data (3000.0 to 3300.0), at most 1 allowed",
        ),
        (
            check("undecided", low=None, high=None),
            "forbidden: 0.0 points more than real data (too few to say), at most 1 allowed",
        ),
        (check("pass", margin=0.0, value=0.0), "forbidden: none of 900, none allowed"),
        (check("fail", margin=0.0, value=3 / 900), "forbidden: 3 of 900, none allowed"),
    ],
)
def test_in_words(given, words):
    assert in_words(given) == words


def test_verdicts_of_are_in_the_order_of_the_page():
    shuffled = REPORT._replace(criteria=REPORT.criteria[::-1])
    assert [criterion.name for criterion, _ in verdicts_of(shuffled)] == list(CRITERION_TITLES)
    assert [said.kind for _, said in verdicts_of(REPORT)] == ["fail", "undecided", "pass", "unknown", "fail"]


def test_criterion_that_cannot_be_asked_counts_only_with_a_target():
    valid, other = criterion("pass"), criterion(None, name="follows_condition", is_applicable=False)
    assert [each.name for each, _ in verdicts_of(report(valid, other))] == ["valid"]
    assert decision(report(valid, other)) == "GO"
    targeted = other._replace(targets=[Target("class_agreement: at least 1 (not measured)", "missed")])
    assert decision(report(valid, targeted)) == "NO GO"
    assert decision(report(other)) == "UNDECIDED"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["pass"] * 5, "GO"),
        (["pass"] * 4 + ["undecided"], "UNDECIDED"),
        (["pass"] * 4 + [None], "UNDECIDED"),
        (["undecided", None, "fail", "pass", "pass"], "NO GO"),
        ([None] * 5, "UNDECIDED"),
        ([], "UNDECIDED"),
    ],
)
def test_decision_by_the_margins(states, expected):
    criteria = [criterion(state, name=name) for state, name in zip(states, CRITERION_TITLES, strict=False)]
    assert decision(report(*criteria)) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [(["met", "met"], "GO"), (["met", "undecided"], "UNDECIDED"), (["missed", "met"], "NO GO")],
)
@pytest.mark.parametrize("state", [*STATE_WORDS, None])
def test_decision_by_targets_alone_where_there_are_any(state, states, expected):
    criteria = [criterion(state, states[0]), criterion(state, states[1], name="diverse")]
    assert decision(report(*criteria, criterion(state, name="consistent"))) == expected


def test_summary_words():
    assert summary(REPORT) == (
        "NO GO: outside of your targets in 1 of 2 criteria (Diverse and faithful). "
        "Without a target, but outside of the default margins: Valid."
    )
    passed = [criterion("pass", name=name) for name in CRITERION_TITLES]
    assert summary(report(*passed)) == "GO: within the default margins in all 5 criteria."
    assert summary(report(*passed[1:], criterion("fail"))) == (
        "NO GO: outside of the default margins in 1 of 5 criteria (Valid)."
    )
    assert summary(report(criterion("undecided"), criterion(None, name="diverse"), passed[2])) == (
        "UNDECIDED: not decided against the default margins in 2 of 3 criteria (Valid, Diverse and faithful)."
    )
    assert summary(report(criterion(None))) == (
        "UNDECIDED: not decided against the default margins in 1 of 1 criterion (Valid)."
    )
    assert summary(report(criterion("fail", "met"))) == "GO: meets your targets in 1 criterion."
    assert summary(report()) == ""


def test_summary_says_whose_margins():
    own = criterion("pass")._replace(checks=[check("pass", margin=0.02)])
    assert summary(report(own)) == "GO: within your margins in 1 criterion."
    for name, kind in COMPARISONS.items():
        given = criterion("pass")._replace(checks=[check("pass", name=name, margin=kind.margin / 100)])
        assert "the default margins" in summary(report(given)), name
