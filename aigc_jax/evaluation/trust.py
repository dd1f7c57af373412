"""Trust in judges: a classifier decides criteria only where it has shown on held-out data that it can.

A classifier at chance, of a single class, or that never predicts some class, agrees with any samples about as often as
with real data: its agreement is no evidence, and neither are the features that it has learned.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.judge import Judge, Predictions
from aigc_jax.metrics.intervals import clopper_pearson

MIN_ACCURACY = 0.75
"""Accuracy on held-out data below which a classifier does not judge, unless the user names another."""


def doubt(
    name: str, predicted: Int[np.ndarray, " num"], condition: Int[np.ndarray, " num"], min_accuracy: float
) -> str:
    """The reason not to trust a classifier, from its predictions of held-out examples; "" for none.

    >>> doubt("cnn", np.zeros(100, int), np.zeros(100, int), 0.75)
    'the held-out data have a single class, so cnn has nothing to tell apart'
    """
    counts = np.bincount(condition)
    classes = np.flatnonzero(counts)
    if len(classes) < 2:
        return f"the held-out data have a single class, so {name} has nothing to tell apart"
    accuracy, chance = float(np.mean(predicted == condition)), float(counts.max() / counts.sum())
    # As surely as a comparison of samples is decided: one-sided 99.5 %.
    low = clopper_pearson(int(np.sum(predicted == condition)), len(condition), confidence=0.99)[0]
    if low <= chance:
        return f"{name} is not better than chance on held-out data ({accuracy:.1%} correct, chance {chance:.1%})"
    if missing := len(np.setdiff1d(classes, predicted)):
        return f"{name} predicts {missing} of {len(classes)} classes for no held-out example"
    if accuracy < min_accuracy:
        return (
            f"{name} is correct on {accuracy:.1%} of held-out data, less than the {min_accuracy:.0%} that a judge needs"
        )
    return ""


def trusted(judge: Judge, held_out: Examples, min_accuracy: float) -> tuple[Judge, Examples]:
    """The judge and the held-out examples without the predictions that are not to be trusted.

    A world is exact, and features of a network that was trained elsewhere stay. Data without classes cannot show
    anything: a judge that the user names for them is taken.
    """
    predictions, condition = held_out.predictions, held_out.condition
    if judge.world is not None or predictions.predicted is None or condition is None:
        return judge, held_out
    reason = doubt(judge.name, predictions.predicted, condition, min_accuracy)
    if reason:
        judge = judge._replace(why_none=reason, why_no_second=reason, second_name="")
    elif predictions.second is not None:
        why_no_second = doubt(judge.second_name, predictions.second, condition, min_accuracy)
        if not why_no_second:
            return judge, held_out
        judge = judge._replace(why_no_second=why_no_second, second_name="")
    else:
        return judge, held_out
    predict, has_encoder = judge.predict, bool(judge.encoder)

    def keep(each: Predictions) -> Predictions:
        if not reason:
            return each._replace(second=None)
        return Predictions(features=each.features if has_encoder else None)

    judge = judge._replace(predict=lambda examples: keep(predict(examples)))
    return judge, held_out._replace(predictions=keep(predictions))
