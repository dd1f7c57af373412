"""Adherence to the condition: class agreement, corrected for the classifier's errors, per class and per attribute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section, none_if_nan, proportion, reason
from aigc_jax.evaluation.significance import mantel_haenszel_test
from aigc_jax.metrics.class_agreement import ClassAgreement, class_agreement, corrected_agreement
from aigc_jax.metrics.classification import classifier_quality
from aigc_jax.metrics.intervals import clopper_pearson, standardized_share
from aigc_jax.report.figures import Bar, Bars, Figure, Matrix, Table
from aigc_jax.report.formatting import format_share
from aigc_jax.report.measurements import Measurement, measure
from aigc_jax.types import UsageError

_NAMES = ("class_agreement", "worst_class", "corrected_agreement", "second_opinion")


def follows_condition(evidence: Evidence) -> Section:
    """The share of samples of the requested class, and whatever qualifies it."""
    samples, held_out = evidence.samples, evidence.held_out
    if samples.condition is None or samples.predictions.predicted is None:
        why = evidence.judge.why_none or f"{evidence.judge.name} predicts no classes"
        if samples.condition is None:
            why = "the model is unconditional: nothing is requested"
        return Section("follows_condition", left_out=dict.fromkeys(_NAMES, why))
    given, real = _agreement(samples), None if held_out.condition is None else _agreement(held_out)
    second, left_out = _second_opinion(evidence)
    measurements = [*_overall(evidence, given, real, left_out), *second, *_others(evidence, given, real, left_out)]
    checks = []
    if held_out.condition is not None:
        ours, theirs = samples.condition, held_out.condition
        checks.append(
            mantel_haenszel_test(
                "samples that do not show their class", ~samples.is_right, ours, ~held_out.is_right, theirs
            )
        )
        if second:
            title = "samples in which a second classifier predicts another class"
            is_wrong = [each.predictions.second != each.condition for each in (samples, held_out)]
            checks.append(mantel_haenszel_test(title, is_wrong[0], ours, is_wrong[1], theirs))
    figures = [*_class_figures(evidence, given, real), *_attributes(evidence), *_judges(evidence)]
    return Section("follows_condition", measurements, checks, figures, left_out, "class_agreement")


def _agreement(examples: Examples) -> ClassAgreement:
    """Agreement of condition and class; an invalid example of a world is of a class of its own, the last."""
    condition, seen = np.asarray(examples.condition), examples.judged_class
    num_classes = _num_classes(examples)
    is_exact = examples.predictions.violation is not None
    return class_agreement(np.where(seen < 0, num_classes, seen), condition, num_classes + is_exact)


def _num_classes(examples: Examples) -> int:
    predictions = examples.predictions
    num = 1 + int(max(np.asarray(examples.condition).max(), np.asarray(predictions.predicted).max()))
    return num if predictions.logits is None else max(num, predictions.logits.shape[-1])


def _overall(
    evidence: Evidence, given: ClassAgreement, real: ClassAgreement | None, left_out: dict[str, str]
) -> list[Measurement]:
    """Class agreement, and corrected for the errors of the classifier."""
    is_exact = evidence.judge.world is not None
    rows = [
        proportion(
            "class_agreement",
            round(given.agreement * given.n),
            given.n,
            reference=None if real is None else _real_share(evidence, evidence.held_out.is_right),
            reference_title=_reference_title(is_exact, real),
            is_proxy=not is_exact,
        )
    ]
    if is_exact:
        left_out["corrected_agreement"] = "the synthetic data set makes no errors: there is nothing to correct"
    elif real is None:
        left_out["corrected_agreement"] = f"the examples of {evidence.data.name} have no classes"
    else:
        try:
            found = corrected_agreement(given.confusion, real.confusion)
            low, high = found.low, found.high
            rows.append(measure("corrected_agreement", found.agreement, found.n, low=low, high=high, is_proxy=True))
        except UsageError as error:
            left_out["corrected_agreement"] = reason(error)
    return rows


def _others(
    evidence: Evidence, given: ClassAgreement, real: ClassAgreement | None, left_out: dict[str, str]
) -> list[Measurement]:
    """The worst class, the accuracy of the classifier, unseen combinations, and classification accuracy scores."""
    is_exact, worst = evidence.judge.world is not None, given.worst_class
    rows = [
        proportion(
            "worst_class",
            round(given.worst_value * given.per_class_n[worst]),
            int(given.per_class_n[worst]),
            reference=_per_class(real, worst),
            reference_title=_reference_title(is_exact, real),
            is_proxy=not is_exact,
            detail=evidence.class_name(worst),
        )
    ]
    if is_exact:
        left_out["classifier_accuracy"] = "the synthetic data set itself judges"
    elif real is None:
        left_out["classifier_accuracy"] = f"the examples of {evidence.data.name} have no classes"
    else:
        rows.append(proportion("classifier_accuracy", round(real.agreement * real.n), real.n))
    is_right, condition = evidence.samples.is_right, np.asarray(evidence.samples.condition)
    is_unseen = np.isin(condition, list(evidence.model.withheld))
    if is_unseen.any():
        seen = is_right[~is_unseen]
        reference = float(seen.mean()) if seen.size else None
        count, n = int(is_right[is_unseen].sum()), int(is_unseen.sum())
        row = proportion("unseen_combinations", count, n, reference=reference, reference_title="seen combinations")
        rows.append(row)
    return rows + _from_training(evidence, left_out)


def _reference_title(is_exact: bool, real: ClassAgreement | None) -> str:
    if real is None:
        return ""
    return "real held-out examples" if is_exact else "same classifier on real held-out images"


def _real_share(evidence: Evidence, is_right: np.ndarray) -> float | None:
    """A share of held-out examples, each class with its share among the samples."""
    condition, requested = np.asarray(evidence.held_out.condition), np.asarray(evidence.samples.condition)
    return none_if_nan(standardized_share(is_right, condition, requested))


def _per_class(agreement: ClassAgreement | None, index: int) -> float | None:
    if agreement is None or index >= len(agreement.per_class):
        return None
    return none_if_nan(agreement.per_class[index])


def _second_opinion(evidence: Evidence) -> tuple[list[Measurement], dict[str, str]]:
    """The class agreement by a second classifier; the reason where there is none."""
    samples, held_out, judge = evidence.samples, evidence.held_out, evidence.judge
    if judge.world is not None:
        return [], {"second_opinion": "the synthetic data set itself judges: no second opinion is needed"}
    if samples.predictions.second is None:
        return [], {"second_opinion": "a single classifier judges: leave --single-judge out"}
    count = int(np.sum(samples.predictions.second == samples.condition))
    reference = None
    if held_out.condition is not None:
        reference = _real_share(evidence, held_out.predictions.second == held_out.condition)
    title = "" if reference is None else "same classifier on real held-out images"
    row = proportion("second_opinion", count, samples.num, reference=reference, reference_title=title, is_proxy=True)
    return [row], {}


def _from_training(evidence: Evidence, left_out: dict[str, str]) -> list[Measurement]:
    """Classification accuracy score, both ways: Ravuri and Vinyals 2019."""
    names = ("accuracy_from_samples", "accuracy_on_samples")
    if evidence.model.accuracy_fn is None:
        left_out |= {name: evidence.model.left_out.get(name, "pass --cas to train a classifier") for name in names}
        return []
    results = evidence.model.accuracy_fn(evidence.samples.values, np.asarray(evidence.samples.condition))
    reference, title = None, ""
    if "accuracy_from_real" in results:
        right, n = results["accuracy_from_real"]
        reference, title = right / n, "learned from real, tested on real"
    return [proportion(name, *results[name], reference=reference, reference_title=title) for name in names]


def _class_figures(evidence: Evidence, given: ClassAgreement, real: ClassAgreement | None) -> list[Figure]:
    names = [evidence.class_name(index) for index in range(_num_classes(evidence.samples))]
    columns = names if evidence.judge.world is None else [*names, "invalid"]
    unseen = [names[index] for index in evidence.model.withheld if index < len(names)]
    bars = [
        Bar(
            name,
            none_if_nan(given.per_class[index]),
            *clopper_pearson(int(given.confusion[index, index]), int(given.per_class_n[index])),
            int(given.per_class_n[index]),
            _per_class(real, index),
        )
        for index, name in enumerate(names)
    ]
    caption = "Share of the samples of each class that are predicted to be of it."
    counts_caption = "Numbers of samples by condition (row) and by predicted class (column)."
    counts_caption += " Hatched rows do not occur in the training data." if unseen else ""
    counts = given.confusion[: len(names)].tolist()
    return [
        Bars("per_class", "Agreement by class", caption, bars, "" if real is None else "real held-out examples"),
        Matrix("adherence", "Condition and predicted class", counts_caption, names, columns, counts, unseen),
    ]


def _attributes(evidence: Evidence) -> list[Figure]:
    """Adherence by attribute, and of all together, for seen and unseen combinations."""
    world, samples = evidence.judge.world, evidence.samples
    if world is None or not world.mode_attributes:
        return []
    condition = np.asarray(samples.condition)
    is_unseen = np.isin(condition, list(evidence.model.withheld))
    is_right = {
        name: samples.predictions.attributes[name] == np.asarray(wanted)[condition]
        for name, wanted in world.mode_attributes.items()
    }
    is_right["all together"] = np.stack(list(is_right.values())).all(axis=0)
    groups = {"seen combinations": ~is_unseen, "unseen combinations": is_unseen}
    rows = [[name, *(_share(right[chosen]) for chosen in groups.values())] for name, right in is_right.items()]
    caption = "Share of samples that show the requested value, with its 95 % interval."
    return [Table("attributes", "Adherence by attribute", caption, ["attribute", *groups], rows)]


def _judges(evidence: Evidence) -> list[Figure]:
    """The classifiers: how well each of them, and how often both of them, predict the class."""
    judge, samples, held_out = evidence.judge, evidence.samples, evidence.held_out
    if judge.world is not None:
        return []
    names = [judge.name, judge.second_name] if judge.second_name else [judge.name]
    rows = [
        _judge_row("samples: requested class predicted", samples, len(names)),
        _judge_row("real held-out examples: accuracy", held_out, len(names)),
    ]
    if len(names) == 2:
        for title, each in (("samples", samples), ("real held-out examples", held_out)):
            is_same = np.asarray(each.predictions.predicted) == np.asarray(each.predictions.second)
            rows.append([f"{title}: both predict the same class", _share(is_same), ""])
    logits, truth = held_out.predictions.logits, held_out.condition
    if logits is not None and truth is not None:
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        quality = classifier_quality(probabilities / probabilities.sum(axis=1, keepdims=True), truth)
        more = {
            "F1, mean over classes": np.nanmean(quality.f1),
            "F1, worst class": np.nanmin(quality.f1),
            "area under precision and recall, mean over classes": np.nanmean(quality.average_precision),
            "expected calibration error": quality.calibration_error,
        }
        empty = [""] * (len(names) - 1)
        rows += [[f"real held-out examples: {name}", f"{value:.3f}", *empty] for name, value in more.items()]
    caption = (
        "Accuracy limits how far a classifier's predictions can be trusted; it never saw the held-out examples. 95 % "
        "intervals in brackets."
    )
    return [Table("judges", "The classifiers that judge", caption, ["", *names], rows)]


def _judge_row(title: str, examples: Examples, num: int) -> list[str]:
    predicted: Sequence[np.ndarray | None] = (examples.predictions.predicted, examples.predictions.second)
    if examples.condition is None:
        return [title, *["no classes"] * num]
    return [title, *(_share(np.asarray(each) == examples.condition) for each in predicted[:num])]


def _share(is_so: np.ndarray) -> str:
    if not is_so.size:
        return "none requested"
    low, high = clopper_pearson(int(is_so.sum()), is_so.size)
    return f"{format_share(float(is_so.mean()))} ({format_share(low)} to {format_share(high)})"
