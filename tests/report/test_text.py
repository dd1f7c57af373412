"""Lines for a terminal: criteria first, a line per measurement, and no longer than a terminal is wide."""

from aigc_jax.report.figures import Table
from aigc_jax.report.measurements import MEASUREMENTS, Measurement
from aigc_jax.report.schema import Recommendation, Report
from aigc_jax.report.text import summary_lines, table_lines
from tests.report.example import REPORT


def test_summary_lines_of_the_example():
    assert summary_lines(REPORT) == [
        "NO GO: outside of your targets in 1 of 2 criteria (Diverse and faithful). "
        "Without a target, but outside of the default margins: Valid.",
        "valid                  fail: too many samples are not valid: "
        "samples not allowed: 6.7 points more than real data (5.0 to 9.0), at most 1 allowed",
        "follows its condition  1 of 2 targets undecided: class_agreement: at least 0.98; "
        "compared with real data: pass",
        "consistent             pass: repeats exactly, and hardly any two samples are the same",
        "not copied             not measured: no training images to compare with",
        "diverse and faithful   target missed: frechet_distance: at most 3.6; compared with real data: pass",
        "valid samples       93.1 %  (95 % interval 91.3 to 94.6, reference 99.8 %, n = 1000)",
        "class agreement     98.5 %  (95 % interval 97.5 to 99.2, reference 98.5 %, n = 1000)",
        "worst class: 2      94.0 %  (95 % interval 87.4 to 97.8, n = 100)",
        "classifier accuracy 98.5 %  (95 % interval 97.5 to 99.2, n = 1000)",
        "repeatability       at least 95.4 %  (95 % interval 94.4 to 100.0, n = 64)",
        "copied samples      below 0.30 %  (95 % interval 0.0 to 0.37, reference none found, n = 1000)",
        "FD[cnn]             3.73  (reference 3.49, n = 1000)",
        "log density         -1.23 nats  (reference -1.1, n = 1000)",
        "left out            path length, inception score: the model has no latents",
        "try next            Train longer: aigc-jax train ddpm_digits --steps 9",
    ]


LONG = Report(
    "digits",
    "",
    1000,
    [Measurement(n, f"{n} of a long title", 0.5, 1000, "share", "", 0.4, 0.6) for n in list(MEASUREMENTS)[:24]],
    [criterion._replace(why_not="and so on " * 30) for criterion in REPORT.criteria],
    left_out={f"figure_{index}": f"reason {index} " + "and so on " * 30 for index in range(20)},
    recommendations=[Recommendation(f"thing {index} " + "to do " * 40, "", "", "aigc-jax info") for index in range(9)],
)


def test_summary_lines_fit_the_width_of_a_terminal():
    lines = summary_lines(LONG, 118)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 118
    assert sum(line.startswith("left out ") for line in lines) == 5
    assert lines[-4] == "left out            for 16 more reasons: see the report"
    assert sum(line.startswith("try next ") for line in lines) == 3


def test_summary_lines_are_whole_without_a_terminal():
    lines = summary_lines(LONG)
    assert not any(line.endswith("...") for line in lines)
    assert lines[-1].endswith("to do : aigc-jax info (and 6 more: see the report)")
    assert len(lines) == len(summary_lines(LONG, 118))


def test_summary_lines_name_as_many_left_out_as_leave_room_for_the_reason():
    report = Report("digits", "", 9, (), left_out=dict.fromkeys(list(MEASUREMENTS)[:12], "no labels"))
    (line,) = summary_lines(report)
    assert line == ("left out            valid samples, manifold precision, hallucination rate and 9 more: no labels")
    (line,) = summary_lines(Report("digits", "", 9, (), left_out={"a" * 100: "no labels"}))
    assert line == f"left out            {'a' * 100}: no labels"


def test_lines_show_control_characters_as_escapes():
    evil = "\x1b[2J\nfake"
    row = Measurement("worst_class", f"worst class: {evil}", 0.5, 9, "share", "")
    report = Report(
        "digits", "", 9, [row], left_out={"density": evil}, recommendations=[Recommendation(evil, "", "", evil)]
    )
    lines = summary_lines(report) + table_lines(Table("t", "", "", [evil, "of"], [["1", evil]]))
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    assert r"worst class: \x1b[2J\nfake" in lines[0]
    assert len({line.index(word) for line, word in zip(lines[-2:], ("of", r"\x1b"), strict=True)}) == 1
