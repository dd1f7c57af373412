"""Judges that have not shown on held-out data that they can tell classes apart decide nothing and give no number."""

import numpy as np
import pytest

from aigc_jax.cli.arguments import Evaluate, EvaluateSamples
from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.points import POINT
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.judge import classifier_judge, with_features, with_second_opinion
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Settings
from aigc_jax.evaluation.trust import MIN_ACCURACY, doubt
from aigc_jax.types import Data

RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=600).astype(np.int32)
POINTS = (3.0 * LABELS[:, None] + RNG.normal(size=(600, 2))).astype(np.float32)


def reader(points):
    """A good classifier: the nearest mean of a class."""
    return {"logits": -np.abs(points[:, :1] - 3.0 * np.arange(3)), "features": points}


def blind(points):
    """A classifier at chance that predicts each class."""
    return {"logits": np.eye(3)[(1e4 * np.abs(points[:, 0])).astype(int) % 3], "features": points}


def report_of(judge, **settings):
    data = Data(
        "points",
        *(ArraySource(POINTS[part], LABELS[part], name="point") for part in (slice(300), slice(300, None))),
        "abc",
    )
    model = EvaluatedModel(lambda start, condition, num: POINTS[start : start + num], 3, POINT)
    return evaluate(model=model, judge=judge, data=data, settings=Settings(300, 0, 0)._replace(**settings)).report


@pytest.mark.parametrize(
    ("predicted", "condition", "words"),
    [
        (np.zeros(90, int), np.zeros(90, int), "single class"),
        (np.arange(90) // 3 % 3, np.arange(90) % 3, "not better than chance"),
        (np.minimum(np.arange(90) % 3, 1), np.arange(90) % 3, "1 of 3 classes"),
        (np.where(np.arange(90) < 60, np.arange(90) % 3, (np.arange(90) + 1) % 3), np.arange(90) % 3, "66.7%"),
        (np.arange(90) % 3, np.arange(90) % 3, ""),
        (np.zeros(2000, int), np.arange(2000) % 20 // 19, "not better than chance"),  # the frequent class alone
    ],
)
def test_doubt_names_the_reason(predicted, condition, words):
    reason = doubt("cnn", predicted, condition, 0.75)
    assert words in reason
    assert bool(words) == bool(reason)


def test_judge_at_chance_gives_no_number():
    report = report_of(classifier_judge("blind", blind, "abc", POINT))
    for name in ("valid", "follows_condition", "diverse"):
        criterion = report.criterion(name)
        assert criterion.state is None
        assert "not better than chance" in criterion.why_not
    names = {row.name for row in report.measurements}
    assert not names & {
        "class_agreement",
        "corrected_agreement",
        "classifier_accuracy",
        "manifold_precision",
        "coverage",
    }
    assert report_of(classifier_judge("reader", reader, "abc", POINT)).criterion("valid").state is not None


def test_second_judge_at_chance_is_left_out_alone():
    judge = with_second_opinion(classifier_judge("reader", reader, "abc", POINT), "blind", blind)
    report = report_of(judge)
    assert report.find("class_agreement") is not None
    assert report.find("second_opinion") is None
    assert "blind is not better than chance" in report.left_out["second_opinion"]


def test_features_of_another_network_stay():
    judge = with_features(classifier_judge("blind", blind, "abc", POINT), "other", reader)
    report = report_of(judge)
    assert report.find("manifold_precision") is not None
    assert report.criterion("follows_condition").state is None


def test_required_accuracy_is_the_users():
    judge = classifier_judge("reader", reader, "abc", POINT)
    assert (
        "less than the 99% that a judge needs" in report_of(judge, min_judge_accuracy=0.99).criterion("valid").why_not
    )


def test_required_accuracy_is_one_number_for_commands_and_python():
    assert Evaluate.judge_accuracy == EvaluateSamples.judge_accuracy == MIN_ACCURACY
