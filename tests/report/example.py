"""A small report with a criterion of each state and a figure of each kind, and the markup of single figures."""

import re

import numpy as np

from aigc_jax.report.figures import Bar, Bars, Gallery, Histogram, Lines, Matrix, Series, Table, Texts
from aigc_jax.report.html.page import to_html
from aigc_jax.report.measurements import Measurement, measure
from aigc_jax.report.schema import Check, Criterion, Recommendation, Report, Target

MEASUREMENTS = (
    Measurement("valid_samples", "valid samples", 0.931, 1000, "share", "Allowed ones.", 0.913, 0.946, 0.998, "real"),
    Measurement(
        "class_agreement", "class agreement", 0.985, 1000, "share", "Seen.", 0.9754, 0.9916, 0.985, "real", True
    ),
    measure("worst_class", 0.94, 100, low=0.874, high=0.978, is_proxy=True, detail="2"),
    Measurement("classifier_accuracy", "classifier accuracy", 0.985, 1000, "share", "Its word.", 0.9754, 0.9916),
    Measurement("repeatability", "repeatability", 1.0, 64, "share", "Same bits.", 0.944, 1.0),
    Measurement("copied_samples", "copied samples", 0.0, 1000, "share", "", 0.0, 0.0037, 0.0, "real", False, True),
    Measurement("frechet_distance", "FD[cnn]", 3.73, 1000, "distance", "Far.", None, None, 3.49, "real against real"),
    Measurement("log_prob", "log density", -1.23, 1000, "nats", "Mean.", None, None, -1.1, "real"),
)

CRITERIA = (
    Criterion(
        "valid",
        "fail",
        "valid_samples",
        [Check("invalid_samples", "samples not allowed", 0.069, 0.002, 0.067, 0.05, 0.09, 0.01, "fail", 1000)],
    ),
    Criterion(
        "follows_condition",
        "pass",
        "class_agreement",
        [Check("class_agreement", "samples of another class", 0.015, 0.015, 0.0, -0.01, 0.01, 0.03, "pass", 1000)],
        [Target("class_agreement: at least 0.98", "undecided"), Target("worst_class: at least 0.9", "met")],
    ),
    Criterion(
        "consistent",
        "pass",
        "repeatability",
        [Check("repeatability", "samples that change when repeated", 0.0, 0.0, 0.0, None, None, 0.0, "pass", 64)],
    ),
    Criterion("not_copied", None, "", why_not="no training images to compare with"),
    Criterion("diverse", "pass", "frechet_distance", (), [Target("frechet_distance: at most 3.6", "missed")]),
)

PICTURES = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28, 1)

FIGURES = (
    Lines(
        "sampler_sweep",
        "Violations by steps",
        "Fewer is better.",
        "evaluations per sample",
        "violations",
        [
            Series("ddpm", [10, 100, 1000], [0.04, 0.01, None], [0.03, 0.005, 0.0], [0.05, 0.02, 0.01]),
            Series("ddim", [10, 100, 1000], [0.06, 0.03, 0.02]),
        ],
        {"exact score": 0.0005},
        is_log_x=True,
        is_share=True,
    ),
    Lines("roc", "ROC", "", "flagged", "found", [Series("re-noise", [0, 1], [0, 1])], diagonal="chance"),
    Bars("violations", "Violations", "", [Bar("blank", 0.0, 0.0, 0.0037, 1000, 0.0), Bar("none asked for", None)]),
    Histogram(
        "nearest", "Nearest", "", "distance", [0, 1, 2], {"samples": [0.4, 0.6], "real": [0.5, 0.5]}, {"copy": 1}
    ),
    Matrix("adherence", "Asked and seen", "", ["0", "1"], ["0", "1", "invalid"], [[9, 1, 0], [0, 8, 2]], ["1"]),
    Table("attributes", "Attributes", "", ["attribute", "share"], [["shape", "98.5 %"]]),
    Gallery("first_samples", "The first samples", "Not selected.", [PICTURES], [["0", "1", "2"]]),
    Gallery("worst", "Worst", "By distance.", [PICTURES], [["blank", "blank", "torn"]]),
    Texts("sequences", "Sequences", "", [("sorted", "1 2 3"), ("", "3 1")]),
)

REPORT = Report(
    "digits",
    "digits classifier",
    1000,
    MEASUREMENTS,
    CRITERIA,
    FIGURES,
    (
        Recommendation(
            "Train longer", "both are above the floor", "fewer errors", "aigc-jax train ddpm_digits --steps 9"
        ),
    ),
    {"path_length": "the model has no latents", "inception_score": "the model has no latents"},
    {"checkpoint": "step 2000"},
)


def panel(figure):
    """The markup of one figure, as it is in a page."""
    page = to_html(Report("digits", "judge", 9, (), figures=[figure]), title="run")
    return re.search(r"<figure.*</figure>", page, flags=re.DOTALL)[0]
