"""What a terminal shows: lights first, a line per figure, and no more than fits."""

from aigc_jax.report.measurements import MEASUREMENTS, Measurement
from aigc_jax.report.schema import Recommendation, Report
from aigc_jax.report.text import summary_lines
from tests.report.example import REPORT


def test_lines():
    assert summary_lines(REPORT) == [
        "valid                  worse than real data: valid samples 93.1 % (beside it 99.8 %)",
        "follows its condition  1 of 2 targets undecided: class agreement 98.5 % (beside it 98.5 %); "
        "class_agreement: at lea...",
        "consistent             not distinguishable from real data at n = 64: repeatability at least 95.4 %",
        "not copied             not measured: no training images to compare with",
        "diverse and faithful   target missed: FD[cnn] 3.73 (beside it 3.49); frechet_distance: at most 3.6",
        "valid samples       93.1 %  (95 % interval 91.3 to 94.6, n = 1000)",
        "class agreement     98.5 %  (95 % interval 97.5 to 99.2, n = 1000)",
        "worst class         2: 94.0 %  (95 % interval 87.4 to 97.8, n = 100)",
        "classifier          98.5 % accurate on 1000 held-out images of digits (97.5 to 99.2)",
        "repeatability       at least 95.4 %  (95 % interval 94.4 to 100.0, n = 64)",
        "copied samples      below 0.30 %  (95 % interval 0.0 to 0.37, n = 1000)",
        "FD[cnn]             3.73 at n = 1000; real against real 3.49",
        "log density         -1.23 nats at n = 1000; real -1.1",
        "left out            path length, inception score: the model has no latents",
        "try next            Train longer",
    ]


def test_it_fits_on_a_screen_whatever_was_measured():
    report = Report(
        "digits",
        "",
        1000,
        [
            Measurement(name, f"{name} of a long title", 0.5, 1000, "share", "", 0.4, 0.6)
            for name in list(MEASUREMENTS)[:24]
        ],
        [criterion._replace(why_not="and so on " * 30) for criterion in REPORT.criteria],
        left_out={f"figure_{index}": f"reason {index} " + "and so on " * 30 for index in range(20)},
        recommendations=[Recommendation(f"thing {index} " + "to do " * 40, "") for index in range(9)],
    )
    lines = summary_lines(report)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 118
    assert sum(line.startswith("left out ") for line in lines) == 5
    assert lines[-4] == "left out            for 16 more reasons: see the report"
    assert sum(line.startswith("try next ") for line in lines) == 3


def test_a_score_with_an_interval_and_what_stands_beside_it():
    density = Measurement("density", "density", 0.93, 500, "score", "", 0.9, 0.96, 1.01, "held-out examples (digits)")
    assert summary_lines(Report("digits", "", 500, [density])) == [
        "density             0.93 at n = 500 (95 % interval 0.9 to 0.96); held-out examples 1.01"
    ]
