"""The second opinion: its share, its reference, and the reasons why it may be missing."""

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.points import POINT
from aigc_jax.evaluation.examples import draw, real
from aigc_jax.evaluation.judge import classifier_judge, with_second_opinion
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Evidence
from aigc_jax.evaluation.sections.condition import follows_condition
from aigc_jax.types import Data, UsageError

from . import planted

NUM, NUM_CLASSES = 300, 3  # more than are judged at once


def says(column):
    """A classifier that reads the class off one column."""
    return lambda points: {"logits": np.eye(NUM_CLASSES)[points[:, column].astype(int)], "features": points}


FIRST = classifier_judge("first", says(0), list("abc"), POINT)
JUDGE = with_second_opinion(FIRST, "second", says(1))
CLASSES = np.arange(NUM) % NUM_CLASSES
OTHER = (CLASSES + 1) % NUM_CLASSES
INDEX = np.arange(NUM)


def evidence(judge=JUDGE, num_wrong=30, real_wrong=6, labels=CLASSES):
    """Column 0 has the requested class; column 1 another one, for so many of the first."""
    samples, held_out = (
        np.stack([CLASSES, np.where(wrong > INDEX, OTHER, CLASSES)], axis=1).astype(np.float32)
        for wrong in (num_wrong, real_wrong)
    )
    model = EvaluatedModel(lambda start, _, num: samples[start : start + num], NUM_CLASSES, POINT)
    drawn = draw(model, model.sample_fn, judge, NUM, title="")
    read = real(ArraySource(held_out, labels, name="point"), judge, NUM, title="", modality=POINT)
    return Evidence(model, judge, Data("toy", [], [], ()), drawn, read, read)


def test_second_opinion_is_compared_with_the_same_classifier_on_real_examples():
    section = follows_condition(evidence())
    row = next(row for row in section.measurements if row.name == "second_opinion")
    assert (row.value, row.n, row.reference, row.is_proxy) == (0.9, NUM, 0.98, True)
    assert row.low < 0.9 < row.high
    first, check = section.checks
    assert [first.name, check.name] == ["class_agreement", "second_opinion"]
    assert (first.difference.value, first.difference.reference) == (0.0, 0.0)
    assert (check.difference.value, check.difference.reference) == pytest.approx((0.1, 0.02))
    assert check.difference.interval(1e-4).low > 0
    table = next(figure for figure in section.figures if figure.name == "judges")
    assert table.columns == ["", "first", "second"]
    samples, held_out, same, same_real = (row[1:] for row in table.rows[:4])
    assert (samples[0][:7], samples[1][:6]) == ("100.0 %", "90.0 %")
    assert held_out[1][:6] == "98.0 %"
    assert (same[0][:6], same_real[0][:6]) == ("90.0 %", "98.0 %")
    assert "second_opinion" not in section.left_out


def test_predictions_stay_with_their_examples():
    """Through batches, the random order of real examples, and a choice of some."""
    found = evidence()
    for examples in (found.samples, found.held_out, found.samples.select(INDEX[::-7]), found.samples.select(slice(9))):
        np.testing.assert_array_equal(examples.predictions.predicted, examples.values[:, 0])
        np.testing.assert_array_equal(examples.predictions.second, examples.values[:, 1])


def test_second_opinion_has_no_reference_without_classes_of_real_examples():
    section = follows_condition(evidence(labels=None))
    row = next(row for row in section.measurements if row.name == "second_opinion")
    assert row.reference is None
    assert not section.checks
    table = next(figure for figure in section.figures if figure.name == "judges")
    assert table.rows[1][1:] == ["no classes"] * 2


@pytest.mark.slow
def test_second_opinion_is_left_out_with_a_reason():
    assert "--single-judge" in follows_condition(evidence(FIRST)).left_out["second_opinion"]
    few = {"num_samples": 50, "num_detected": 0}
    for num_classes, reason in ((planted.NUM_CLASSES, "itself judges"), (None, "unconditional")):
        report = planted.report_of(planted.perfect, num_classes, **few)
        assert reason in report.left_out["second_opinion"]
        assert report.find("second_opinion") is None


def test_second_classifier_of_fewer_classes_is_refused():
    judge = with_second_opinion(FIRST, "small", lambda points: {"logits": np.zeros((len(points), 2))})
    with pytest.raises(UsageError, match="small has 2"):
        judge.predict(np.zeros((1, 2), np.float32))
