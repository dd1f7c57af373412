"""What a report holds, and its JSON form.

``report.json`` (``format`` 1) has these keys; a number that does not exist is null, never NaN:

- ``format``: 1. A later format may rename or drop keys; new keys alone do not raise it.
- ``data``, ``encoder``, ``num_samples``: what was compared with what; ``facts``: ``{text: text}`` about the model.
- ``measurements``: a list of ``{"name", "title", "value", "low", "high", "n", "reference", "reference_title",
  "unit", "note"}``; ``low`` and ``high`` are the ends of a 95 % interval, ``unit`` is "share", "distance" or "nats".
- ``per_class_title``: what the rows are; ``per_class``: a list of ``{"class_index", "name", "n", "value", "low",
  "high", "reference"}``.
- ``confusion``: numbers of samples by condition (row) and predicted class (column); null when unconditional.
- ``left_out``: ``{name: why it was not measured}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

FORMAT = 1
"""The layout of ``report.json``."""

NAMES = (
    "class_agreement",
    "worst_class",
    "classifier_accuracy",
    "frechet_distance",
    "valid_samples",
    "modes_covered",
    "log_prob",
)
"""Every measurement that a report may hold; a gate names one of them."""

INTERVAL_NAMES = ("class_agreement", "worst_class", "classifier_accuracy", "valid_samples")
"""Those that have an interval."""


class Measurement(NamedTuple):
    """One figure and all that is needed to read it.

    Attributes:
        name: one of :data:`NAMES`; scripts go by it.
        title: what people read.
        value: the figure; a share in [0, 1], a distance, or nats.
        n: number of samples it was measured on.
        unit: "share", "distance" or "nats".
        note: one sentence that says what it means.
        low: lower end of the 95 % interval, where there is one.
        high: upper end.
        reference: the same figure of real images at the same n, or the best one that can be expected.
        reference_title: what the reference is.
    """

    name: str
    title: str
    value: float
    n: int
    unit: str
    note: str
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    reference_title: str = ""


class ClassRow(NamedTuple):
    """The figure of one class.

    Attributes:
        class_index: the class, 0 ... K-1.
        name: what it is called.
        n: number of samples; the value is None when 0.
        value: a share in [0, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        reference: the same share of real held-out examples, where it is known.
    """

    class_index: int
    name: str
    n: int
    value: float | None
    low: float
    high: float
    reference: float | None = None


class Report(NamedTuple):
    """Everything that was measured of one model.

    Attributes:
        data: name of the data set.
        encoder: name of the classifier whose word and features were used, or of what else judged.
        num_samples: how many samples were drawn.
        measurements: the figures, most important first.
        per_class_title: what ``per_class`` holds; "" where it is empty.
        per_class: a row per class.
        confusion: condition (row) by predicted class (column); None for an unconditional model.
        left_out: ``{name: why it was not measured}``.
        facts: more to print about the model, ``{"checkpoint": "step 2000"}``; set it by ``report._replace``.
    """

    data: str
    encoder: str
    num_samples: int
    measurements: Sequence[Measurement]
    per_class_title: str = ""
    per_class: Sequence[ClassRow] = ()
    confusion: Sequence[Sequence[int]] | None = None
    left_out: Mapping[str, str] = {}
    facts: Mapping[str, str] = {}

    def find(self, name: str) -> Measurement | None:
        """The measurement of that name, None where it was left out."""
        return next((m for m in self.measurements if m.name == name), None)


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; the module's docstring describes them.

    Args:
        report: what was measured.

    Returns:
        A dict of strings, numbers, lists and None.

    >>> to_json(Report("digits", "digits-classifier", 0, ()))["format"]
    1
    """
    return {
        "format": FORMAT,
        **report._asdict(),
        "measurements": [m._asdict() for m in report.measurements],
        "per_class": [row._asdict() for row in report.per_class],
        "confusion": None if report.confusion is None else [list(row) for row in report.confusion],
        "left_out": dict(report.left_out),
        "facts": dict(report.facts),
    }
