"""What each part of an evaluation is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.judge import Judge
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.report.figures import Figure
from aigc_jax.report.schema import Check, Measurement


class Evidence(NamedTuple):
    """Everything that was looked at.

    Attributes:
        subject: the model.
        judge: who looked.
        samples: of the model; sample i has condition ``i % num_classes``.
        held_out: real examples that no training saw.
        train: training examples, as many as the features of which are compared.
        distinct: numbers of the samples that no earlier sample equals: the others tell nothing new.
        data: the name of the data set.
    """

    subject: EvaluatedModel
    judge: Judge
    samples: Examples
    held_out: Examples
    train: Examples
    distinct: Int[np.ndarray, " num_distinct"]
    data: str

    def class_name(self, index: int) -> str:
        """What a class is called."""
        names = self.judge.class_names
        return str(names[index]) if index < len(names) else str(index)

    @property
    def distinct_samples(self) -> Examples:
        """The samples without repetitions."""
        return self.samples.select(self.distinct)


class Section(NamedTuple):
    """One part of a report.

    Attributes:
        measurements: its figures, most important first.
        checks: its comparisons with real data, by which its light is judged.
        figures: what it shows.
        left_out: ``{name: why it was not measured}``.
        headline: the measurement to print with its light; "" for none.
    """

    measurements: Sequence[Measurement] = ()
    checks: Sequence[Check] = ()
    figures: Sequence[Figure] = ()
    left_out: Mapping[str, str] = {}
    headline: str = ""

    def joined(self, other: Section) -> Section:
        """Both parts under one light, this one first and with its headline.

        >>> Section(left_out={"a": "no encoder"}).joined(Section(left_out={"b": "too small"})).left_out
        {'a': 'no encoder', 'b': 'too small'}
        """
        return Section(
            [*self.measurements, *other.measurements],
            [*self.checks, *other.checks],
            [*self.figures, *other.figures],
            {**self.left_out, **other.left_out},
            self.headline or other.headline,
        )


def proportion(name: str, title: str, *, count: int, n: int, note: str, **more: object) -> Measurement:
    """A share with its exact interval.

    Args:
        name: of the measurement.
        title: what people read.
        count: how many of n.
        n: number of samples, >= 1.
        note: what it means.
        **more: further attributes of the measurement.

    Returns:
        The measurement.

    >>> proportion("valid_samples", "valid samples", count=1, n=2, note="").value
    0.5
    """
    low, high = clopper_pearson(count, n)
    return Measurement(name, title, count / n, n, "share", note, low, high)._replace(**more)


def none_if_nan(value: float) -> float | None:
    """JSON has no NaN.

    >>> none_if_nan(float("nan")) is None
    True
    """
    return None if np.isnan(value) else float(value)
