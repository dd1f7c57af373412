"""Gates: bounds that a file may set, failures, and targets of criteria."""

import math

import pytest

from aigc_jax.report.criteria import COMPARISONS
from aigc_jax.report.gates import Gates, check_gates, read_gates, targets
from aigc_jax.report.measurements import MEASUREMENTS, Measurement
from aigc_jax.report.schema import Check, Criterion, Report
from aigc_jax.types import UsageError

AGREEMENT = Measurement("class_agreement", "class agreement", 0.985, 1000, "share", "", 0.9754, 0.9916)
DISTANCE = Measurement("frechet_distance", "FD", 3.7, 1000, "distance", "")
COPIED = Measurement("copied_samples", "copied", 0.01, 1000, "share", "", 0.005, 0.02, lower_is_better=True)
REPORT = Report("digits", "classifier", 1000, [AGREEMENT, DISTANCE, COPIED], left_out={"worst_class": "one class"})


def write(tmp_path, text):
    path = tmp_path / "gates.toml"
    path.write_text(text)
    return path


def state(gates):
    ((criterion, (target,)),) = targets(REPORT, Gates(gates)).items()
    return criterion, target.state


def test_read_gates_returns_bounds_by_measurement(tmp_path):
    text = "[class_agreement]\nmin = 0.98\nmin_low = 0.97\n[frechet_distance]\nmax = 20\n"
    expected = {"class_agreement": {"min": 0.98, "min_low": 0.97}, "frechet_distance": {"max": 20.0}}
    assert read_gates(write(tmp_path, text)) == Gates(expected)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_read_gates_accepts_every_measurement(tmp_path, name):
    assert read_gates(write(tmp_path, f"[{name}]\nmax = 1\n")) == Gates({name: {"max": 1.0}})
    with_interval = write(tmp_path, f"[{name}]\nmin_low = 1\n")
    if MEASUREMENTS[name].has_interval:
        assert read_gates(with_interval)
    else:
        with pytest.raises(UsageError, match=r"unknown bound 'min_low' .*: use min, max$"):
            read_gates(with_interval)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "sets no limit"),
        ("[class_agrement]\nmin = 1", "unknown measurement 'class_agrement': use one of valid_samples"),
        ("[class_agreement]\nat_least = 1", "unknown bound 'at_least' on class_agreement"),
        ("[class_agreement]\nmin = true", "to True: write a finite number"),
        ("[class_agreement]\nmin = nan", "to nan: write a finite number"),
        ("class_agreement = 0.9", "sets no bound"),
        ("[class_agreement]\nmin = " + "9" * 400, r"to 9+\.\.\.9+: write a finite number"),
        ("[class_agreement]\nmin = " + "[" * 60_000 + "]" * 60_000, "not TOML: "),
        ("[class_agreement", "not TOML: "),
        ("[criteria]", "sets no limit"),
        ("criteria = 2", r"sets criteria to a value: write \[criteria\] and invalid_samples = \.\.\. below it"),
        ("[[criteria]]\ncoverage = 2", "sets criteria to a value"),
        ("[criteria]\ncoverag = 2", "margin of an unknown comparison 'coverag': use one of invalid_samples, precision"),
        ('[criteria]\n"a\\nb" = 2', r"unknown comparison 'a\\nb'"),
        ("[criteria]\nvalid = 2", "unknown comparison 'valid'"),
        ("[criteria]\nrepeatability = 2", "unknown comparison 'repeatability'"),  # none may change
        ("[criteria]\ncoverage = 0", r"margin of coverage to 0: write percentage points in \(0, 100\]"),
        ("[criteria]\ncoverage = -1", r"to -1: write percentage points in \(0, 100\]"),
        ("[criteria]\ncoverage = 101", "to 101: write percentage points"),
        ("[criteria]\ncoverage = nan", "to nan: write percentage points"),
        ("[criteria]\ncoverage = inf", "to inf: write percentage points"),
        ("[criteria]\ncoverage = true", "to True: write percentage points"),
        ("[criteria]\ncoverage = '2'", "to '2': write percentage points"),
        ("[criteria.coverage]\nmax = 2", "to {'max': 2}: write percentage points"),
    ],
)
def test_read_gates_refuses_mistakes_in_one_line(tmp_path, text, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        read_gates(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_check_gates_names_failing_gates_alone():
    gates = {
        "class_agreement": {"min": 0.98, "min_low": 0.98},
        "frechet_distance": {"max": 3.0},
        "copied_samples": {"max": 0.01, "max_high": 0.01},
        "worst_class": {"min": 0.9},
    }
    assert check_gates(REPORT, Gates(gates)) == [
        "class_agreement: lower end of the interval 0.9754, expected at least 0.98",
        "frechet_distance: 3.7, expected at most 3",
        "copied_samples: upper end of the interval 0.02, expected at most 0.01",
        "worst_class was not measured (one class), expected at least 0.9",
    ]


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        ({"class_agreement": {"min": 0.97}}, ("follows_condition", "met")),
        ({"class_agreement": {"min": 0.9754}}, ("follows_condition", "met")),
        ({"class_agreement": {"min": 0.98}}, ("follows_condition", "undecided")),
        ({"class_agreement": {"min": 0.99}}, ("follows_condition", "undecided")),
        ({"class_agreement": {"min": 0.995}}, ("follows_condition", "missed")),
        ({"class_agreement": {"min_low": 0.98}}, ("follows_condition", "missed")),
        ({"class_agreement": {"min_low": 0.97}}, ("follows_condition", "met")),
        ({"copied_samples": {"max": 0.02}}, ("not_copied", "met")),
        ({"copied_samples": {"max": 0.015}}, ("not_copied", "undecided")),
        ({"copied_samples": {"max": 0.001}}, ("not_copied", "missed")),
        ({"copied_samples": {"max_high": 0.015}}, ("not_copied", "missed")),
        ({"frechet_distance": {"max": 3.7}}, ("diverse", "met")),
        ({"frechet_distance": {"max": 3.6}}, ("diverse", "missed")),
        ({"worst_class": {"min": 0.1}}, ("follows_condition", "missed")),
    ],
)
def test_targets_are_met_missed_or_undecided(gates, expected):
    assert state(gates) == expected


def test_targets_and_gates_fail_for_nan():
    report = Report("digits", "", 9, [DISTANCE._replace(value=math.nan)])
    for bound in ("min", "max"):
        gates = Gates({"frechet_distance": {bound: 1.0}})
        assert targets(report, gates)["diverse"][0].state == "missed"
        assert len(check_gates(report, gates)) == 1


def test_targets_are_grouped_by_criterion():
    gates = {"class_agreement": {"min": 0.98, "min_low": 0.97}, "worst_class": {"min": 0.9}, "density": {"min": 1.0}}
    found = targets(REPORT, Gates(gates))
    assert [target.text for target in found["follows_condition"]] == [
        "class_agreement: at least 0.98",
        "class_agreement: lower end of the interval at least 0.97",
        "worst_class: at least 0.9 (not measured)",
    ]
    assert list(found) == ["follows_condition", "diverse"]
    assert targets(REPORT, Gates()) == {}


@pytest.mark.parametrize("name", [name for name, kind in COMPARISONS.items() if kind.margin])
def test_read_gates_accepts_the_margin_of_every_comparison(tmp_path, name):
    text = f"[density]\nmin = 1\n[criteria]\n{name} = 100\n"
    assert read_gates(write(tmp_path, text)) == Gates({"density": {"min": 1.0}}, {name: 100.0})
    assert 0 < COMPARISONS[name].margin < 100


def test_targets_and_gates_name_bounds_that_real_data_miss():
    """A bound on the value alone: an interval also depends on n."""
    rows = [AGREEMENT._replace(reference=0.985), DISTANCE._replace(reference=3.5), COPIED._replace(reference=0.01)]
    report = REPORT._replace(measurements=rows)
    unreachable = Gates({"class_agreement": {"min": 0.9999}, "frechet_distance": {"max": 3.0}})
    missed = ["real data miss at n = 1000 (0.985)", "real data miss at n = 1000 (3.5)"]
    texts = [target.text for found in targets(report, unreachable).values() for target in found]
    for lines in (check_gates(report, unreachable), texts):
        assert [line.endswith(words) for line, words in zip(lines, missed, strict=True)] == [True, True], lines
    reachable = Gates({"class_agreement": {"min": 0.985, "min_low": 0.98}, "copied_samples": {"max": 0.01}})
    assert not any("real data" in line for line in check_gates(report, reachable))
    assert not any("real data" in t.text for found in targets(report, reachable).values() for t in found)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("pass", []),
        ("fail", ["coverage: uncovered: 4.0 points more than real data (3.0 to 5.0), at most 2 allowed"]),
        (
            "undecided",
            [
                "coverage: uncovered: 4.0 points more than real data (3.0 to 5.0), at most 2 allowed; "
                "about 900 samples would decide"
            ],
        ),
    ],
)
def test_check_gates_fails_on_margins_that_are_not_shown_to_hold(state, expected):
    advice = "about 900 samples would decide" if state == "undecided" else ""
    check = Check("coverage", "uncovered", 0.06, 0.02, 0.04, 0.03, 0.05, 0.02, state, 900, None, advice)
    report = REPORT._replace(criteria=[Criterion("diverse", state, "", [check])])
    assert check_gates(report, Gates(margins={"coverage": 2.0})) == expected
    assert check_gates(report, Gates()) == []  # nothing is demanded
    assert check_gates(report, Gates(margins={"recall": 2.0})) == [
        "recall was not compared with real data, expected at most 2 points more"
    ]
