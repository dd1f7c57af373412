"""The second opinion: what is counted, what stands beside it, and why it may be missing."""

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.points import POINT
from aigc_jax.evaluation.examples import draw, real
from aigc_jax.evaluation.judge import classifier_judge, with_second_opinion
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Evidence
from aigc_jax.evaluation.sections.condition import second_opinion
from aigc_jax.types import UsageError

from . import planted

NUM, NUM_CLASSES = 300, 3  # more than are judged at once


def says(column):
    """A classifier that reads the class off one column."""
    return lambda points: {"logits": np.eye(NUM_CLASSES)[points[:, column].astype(int)], "features": points}


FIRST = classifier_judge("first", says(0), list("abc"))
JUDGE = with_second_opinion(FIRST, "second", says(1))
CLASSES = np.arange(NUM) % NUM_CLASSES
OTHER = (CLASSES + 1) % NUM_CLASSES
INDEX = np.arange(NUM)


def evidence(judge=JUDGE, num_wrong=30, real_wrong=6, labels=CLASSES):
    """Every class asked for is in column 0; column 1 has another one, for so many of the first."""
    samples, held_out = (
        np.stack([CLASSES, np.where(wrong > INDEX, OTHER, CLASSES)], axis=1).astype(np.float32)
        for wrong in (num_wrong, real_wrong)
    )
    drawn = draw(lambda start, _, num: samples[start : start + num], judge, NUM, num_classes=NUM_CLASSES, title="")
    read = real(ArraySource(held_out, labels, name="point"), judge, NUM, title="", modality=POINT)
    return Evidence(EvaluatedModel(None, NUM_CLASSES, POINT), judge, drawn, read, read, INDEX, "toy")


def test_it_is_counted_beside_the_same_classifier_on_real_examples():
    section = second_opinion(evidence())
    (row,), (check,), (table,) = section.measurements, section.checks, section.figures
    assert (row.value, row.n, row.reference, row.is_proxy) == (0.9, NUM, 0.98, True)
    assert row.low < 0.9 < row.high
    assert (check.value, check.reference) == pytest.approx((0.1, 0.02))
    assert check.p_value < 1e-4
    assert "second" in row.note
    assert table.columns[1:3] == ["first", "second"]
    samples, held_out = table.rows
    assert samples[1].startswith("100.0 %")
    assert (samples[2][:6], samples[3][:6], samples[4]) == ("90.0 %", "90.0 %", "30 of 300")
    assert (held_out[2][:6], held_out[4]) == ("98.0 %", "6 of 300")
    assert not section.left_out


def test_the_verdict_goes_with_its_example():
    """Through batches, the random order of real examples, and a choice of some."""
    found = evidence()
    for examples in (found.samples, found.held_out, found.samples.select(INDEX[::-7]), found.samples.select(slice(9))):
        np.testing.assert_array_equal(examples.verdicts.predicted, examples.values[:, 0])
        np.testing.assert_array_equal(examples.verdicts.second, examples.values[:, 1])


def test_real_examples_without_classes_leave_no_reference():
    section = second_opinion(evidence(labels=None))
    assert section.measurements[0].reference is None
    assert not section.checks
    assert section.figures[0].rows[1][1:3] == ["no classes"] * 2


def test_it_is_left_out_with_a_word_why():
    assert "--single-judge" in second_opinion(evidence(FIRST)).left_out["second_opinion"]
    few = {"num_samples": 50, "num_detected": 0}
    for num_classes, reason in ((planted.NUM_CLASSES, "the world itself judges"), (None, "unconditional")):
        report = planted.report_of(planted.perfect, num_classes, **few)
        assert reason in report.left_out["second_opinion"]
        assert report.find("second_opinion") is None


def test_a_second_classifier_of_fewer_classes_is_refused():
    judge = with_second_opinion(FIRST, "small", lambda points: {"logits": np.zeros((len(points), 2))})
    with pytest.raises(UsageError, match="small has 2"):
        judge.predict(np.zeros((1, 2), np.float32))
