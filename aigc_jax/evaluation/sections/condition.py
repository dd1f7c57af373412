"""Adherence to the condition: class agreement, corrected for the classifier's errors, per class and per attribute."""

from __future__ import annotations

import numpy as np

from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section, none_if_nan, proportion, reason
from aigc_jax.metrics.class_agreement import ClassAgreement, class_agreement, corrected_agreement
from aigc_jax.metrics.classification import classifier_quality
from aigc_jax.metrics.differences import stratified_shares
from aigc_jax.metrics.intervals import clopper_pearson, standardized_share
from aigc_jax.report.figures import Bar, Bars, Figure, Matrix, Table
from aigc_jax.report.formatting import format_share
from aigc_jax.report.measurements import Details, Measurement, measure
from aigc_jax.types import UsageError

_SAME_CLASSIFIER = "same classifier on real held-out images"

_NAMES = ("class_agreement", "worst_class", "corrected_agreement", "second_opinion")


def follows_condition(evidence: Evidence) -> Section:
    """The share of samples of the requested class, corrected, per class, and by a second classifier."""
    samples, held_out, is_exact = evidence.samples, evidence.held_out, evidence.judge.world is not None
    if samples.condition is None or samples.predictions.predicted is None:
        why = evidence.judge.why_none or f"{evidence.judge.name} predicts no classes"
        if samples.condition is None:
            why = "the model is unconditional: nothing is requested"
        is_applicable = samples.condition is not None
        return Section("follows_condition", left_out=dict.fromkeys(_NAMES, why), is_applicable=is_applicable)
    given, real = _agreement(samples), None if held_out.condition is None else _agreement(held_out)
    left_out: dict[str, str] = {}
    second = _second_opinion(evidence, left_out)
    corrected, accuracy = list[Measurement](), list[Measurement]()
    if is_exact:
        left_out["corrected_agreement"] = "the synthetic data set makes no errors: there is nothing to correct"
        left_out["classifier_accuracy"] = "the synthetic data set itself judges"
    elif real is None:
        why = f"the examples of {evidence.data.name} have no classes"
        left_out |= dict.fromkeys(("corrected_agreement", "classifier_accuracy"), why)
    else:
        accuracy.append(proportion("classifier_accuracy", int(held_out.is_right.sum()), held_out.num))
        try:
            found = corrected_agreement(given.confusion, real.confusion)
            ends: Details = {"low": found.low, "high": found.high, "is_proxy": True}
            corrected.append(measure("corrected_agreement", found.agreement, found.n, **ends))
        except UsageError as error:
            left_out["corrected_agreement"] = reason(error)
    details: Details = {"is_proxy": not is_exact}
    if real is not None:
        details["reference_title"] = "real held-out examples" if is_exact else _SAME_CLASSIFIER
        details["reference"] = _real_share(evidence, held_out.is_right)
    rows = [proportion("class_agreement", int(samples.is_right.sum()), samples.num, **details), *corrected, *second]
    worst = given.worst_class
    details |= {"reference": _per_class(real, worst), "detail": evidence.class_name(worst)}
    rows.append(proportion("worst_class", int(given.confusion[worst, worst]), int(given.per_class_n[worst]), **details))
    rows += [*accuracy, *_unseen(evidence), *_from_training(evidence, left_out)]
    checks = []
    if held_out.condition is not None:
        ours, theirs = samples.condition, held_out.condition
        found = stratified_shares(~samples.is_right, ours, ~held_out.is_right, theirs)
        checks.append(Comparison("class_agreement", found))
        if second:
            is_wrong = [each.predictions.second != each.condition for each in (samples, held_out)]
            checks.append(Comparison("second_opinion", stratified_shares(is_wrong[0], ours, is_wrong[1], theirs)))
    figures = [*_class_figures(evidence, given, real), *_attributes(evidence), *_judges(evidence)]
    return Section("follows_condition", rows, checks, figures, left_out, "class_agreement")


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


def _unseen(evidence: Evidence) -> list[Measurement]:
    """Class agreement under conditions that do not occur in the training data, where there are any."""
    is_right, condition = evidence.samples.is_right, np.asarray(evidence.samples.condition)
    is_unseen = np.isin(condition, list(evidence.model.withheld))
    if not is_unseen.any():
        return []
    seen = is_right[~is_unseen]
    details: Details = {"reference": float(seen.mean()) if seen.size else None, "reference_title": "seen combinations"}
    return [proportion("unseen_combinations", int(is_right[is_unseen].sum()), int(is_unseen.sum()), **details)]


def _real_share(evidence: Evidence, is_right: np.ndarray) -> float | None:
    """A share of held-out examples, each class with its share among the samples."""
    condition, requested = np.asarray(evidence.held_out.condition), np.asarray(evidence.samples.condition)
    return none_if_nan(standardized_share(is_right, condition, requested))


def _per_class(agreement: ClassAgreement | None, index: int) -> float | None:
    if agreement is None or index >= len(agreement.per_class):
        return None
    return none_if_nan(agreement.per_class[index])


def _second_opinion(evidence: Evidence, left_out: dict[str, str]) -> list[Measurement]:
    """The class agreement by a second classifier; the reason where there is none."""
    samples, held_out = evidence.samples, evidence.held_out
    if evidence.judge.world is not None:
        left_out["second_opinion"] = "the synthetic data set itself judges: no second opinion is needed"
        return []
    if samples.predictions.second is None:
        left_out["second_opinion"] = evidence.judge.why_no_second
        return []
    details: Details = {"is_proxy": True}
    if held_out.condition is not None:
        reference = _real_share(evidence, held_out.predictions.second == held_out.condition)
        details |= {"reference": reference, "reference_title": "" if reference is None else _SAME_CLASSIFIER}
    count = int(np.sum(samples.predictions.second == samples.condition))
    return [proportion("second_opinion", count, samples.num, **details)]


def _from_training(evidence: Evidence, left_out: dict[str, str]) -> list[Measurement]:
    """Classification accuracy score, both ways: Ravuri and Vinyals 2019."""
    names = ("accuracy_from_samples", "accuracy_on_samples")
    if evidence.model.accuracy_fn is None:
        left_out |= {name: evidence.model.left_out.get(name, "pass --cas to train a classifier") for name in names}
        return []
    results = evidence.model.accuracy_fn(evidence.samples.values, np.asarray(evidence.samples.condition))
    details: Details = {}
    if "accuracy_from_real" in results:
        right, n = results["accuracy_from_real"]
        details = {"reference": right / n, "reference_title": "learned from real, tested on real"}
    return [proportion(name, *results[name], **details) for name in names]


def _class_figures(evidence: Evidence, given: ClassAgreement, real: ClassAgreement | None) -> list[Figure]:
    names = [evidence.class_name(index) for index in range(_num_classes(evidence.samples))]
    columns = names if evidence.judge.world is None else [*names, "invalid"]
    unseen = [names[index] for index in evidence.model.withheld if index < len(names)]
    bars = []
    for index, name in enumerate(names):
        count, n = int(given.confusion[index, index]), int(given.per_class_n[index])
        ends = clopper_pearson(count, n)
        bars.append(Bar(name, none_if_nan(given.per_class[index]), *ends, n, _per_class(real, index)))
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
    rows = []
    for title, each in (
        ("samples: requested class predicted", samples),
        ("real held-out examples: accuracy", held_out),
    ):
        predicted = (each.predictions.predicted, each.predictions.second)[: len(names)]
        shares = ["no classes" if each.condition is None else _share(of == each.condition) for of in predicted]
        rows.append([title, *shares])
    if len(names) == 2:
        for title, each in (("samples", samples), ("real held-out examples", held_out)):
            is_same = each.predictions.predicted == each.predictions.second
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


def _share(is_so: np.ndarray) -> str:
    if not is_so.size:
        return "none requested"
    low, high = clopper_pearson(int(is_so.sum()), is_so.size)
    return f"{format_share(float(is_so.mean()))} ({format_share(low)} to {format_share(high)})"
