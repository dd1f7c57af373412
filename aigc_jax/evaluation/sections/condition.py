"""Does a sample show what was asked for? Class agreement, what it is behind the classifier's errors, attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section, none_if_nan, proportion
from aigc_jax.evaluation.significance import mantel_haenszel_test
from aigc_jax.metrics.class_agreement import class_agreement, corrected_agreement
from aigc_jax.metrics.classification import classifier_quality
from aigc_jax.metrics.intervals import clopper_pearson, standardized_share
from aigc_jax.report.figures import Bar, Bars, Figure, Matrix, Table
from aigc_jax.report.formatting import format_share
from aigc_jax.report.schema import Measurement
from aigc_jax.types import UsageError

_NOTES = {
    "class_agreement": "Share of samples in which the judge sees the class that was asked for; its own errors on real "
    "examples set how high this can be read.",
    "world_agreement": "Share of samples that are valid and of the class that was asked for.",
    "corrected_agreement": "Class agreement with the classifier's errors taken out, by its confusion on real examples; "
    "it assumes that it errs on samples as it does on those.",
    "worst_class": "Agreement of the class that follows its condition least; being picked as the lowest, it is lower "
    "than a class chosen beforehand.",
    "classifier_accuracy": "How often {} is right on real examples that no training saw: how far its word goes.",
    "unseen_combinations": "Share of samples that are right under conditions that the training data never showed.",
    "accuracy_from_samples": "Accuracy on real held-out images of a classifier that learned from samples alone "
    "(classification accuracy score); beside it the judge, which learned from all real training images.",
    "accuracy_on_samples": "How often a classifier that learned from real images sees in samples what was asked for.",
}


def follows_condition(evidence: Evidence) -> Section:
    """How well samples follow their conditions.

    Args:
        evidence: what was looked at.

    Returns:
        The section; of an unconditional model only the reason why it is empty.
    """
    samples, held_out = evidence.samples, evidence.held_out
    if samples.condition is None:
        reason = "the model is unconditional: nothing is asked for"
        names = ("class_agreement", "worst_class", "corrected_agreement", "second_opinion")
        return Section(left_out=dict.fromkeys(names, reason))
    if samples.verdicts.predicted is None:
        return Section(left_out={"class_agreement": f"{evidence.judge.name} knows no classes"})
    given, real = _agreement(samples), None if held_out.condition is None else _agreement(held_out)
    measurements, left_out = _measurements(evidence, given, real)
    second = second_opinion(evidence)
    place = next(place for place, row in enumerate(measurements) if row.name == "worst_class")
    measurements[place:place] = second.measurements
    checks = []
    if real is not None:
        ours, theirs = ((judged_class(e) != e.condition, np.asarray(e.condition)) for e in (samples, held_out))
        checks.append(mantel_haenszel_test("samples that do not show their class", ours, theirs))
    figures = [*_figures(evidence, given, real), *second.figures]
    return Section(measurements, [*checks, *second.checks], figures, {**left_out, **second.left_out}, "class_agreement")


def judged_class(examples: Examples) -> np.ndarray:
    """What each example shows: its class, or -1 for one that the world finds invalid."""
    predicted, violation = np.asarray(examples.verdicts.predicted), examples.verdicts.violation
    return predicted if violation is None else np.where(violation == 0, predicted, -1)


def _agreement(examples: Examples) -> dict[str, Any]:
    """Agreement of condition and class; an invalid example of a world is of a class of its own, the last."""
    condition, seen = np.asarray(examples.condition), judged_class(examples)
    num_classes = 1 + int(max(condition.max(), np.asarray(examples.verdicts.predicted).max()))
    if examples.verdicts.logits is not None:
        num_classes = max(num_classes, examples.verdicts.logits.shape[-1])
    is_judged_exactly = examples.verdicts.violation is not None
    seen = np.where(seen < 0, num_classes, seen)
    results = class_agreement(seen, condition, num_classes + is_judged_exactly)._asdict()
    return {**results, "num_classes": num_classes}


def _measurements(
    evidence: Evidence, given: dict[str, Any], real: dict[str, Any] | None
) -> tuple[list[Measurement], dict[str, str]]:
    is_exact, left_out = evidence.judge.world is not None, {}
    beside = "real held-out examples" if is_exact else "same classifier on real held-out images"
    worst = given["worst_class"]
    note = _NOTES["world_agreement" if is_exact else "class_agreement"]
    right = round(given["agreement"] * given["n"])
    shared = {"reference_title": "" if real is None else beside, "is_proxy": not is_exact}
    overall, of_worst = (None, None) if real is None else (_of_real(evidence), _at(real, worst))
    rows = [
        proportion("class_agreement", "class agreement", count=right, n=given["n"], note=note)._replace(
            reference=overall, **shared
        ),
        proportion(
            "worst_class",
            f"worst class: {evidence.class_name(worst)}",
            count=round(given["worst_value"] * given["per_class_n"][worst]),
            n=int(given["per_class_n"][worst]),
            note=_NOTES["worst_class"],
        )._replace(reference=of_worst, **shared),
    ]
    if is_exact:
        left_out["corrected_agreement"] = "the world makes no errors: there is nothing to correct"
        left_out["classifier_accuracy"] = "the world itself judges"
    elif real is None:
        left_out["classifier_accuracy"] = f"the examples of {evidence.data} have no classes"
        left_out["corrected_agreement"] = left_out["classifier_accuracy"]
    else:
        corrected, why_not = _corrected(given, real)
        rows[1:1] = corrected
        left_out |= why_not
        rows.append(_accuracy(evidence, real))
    return rows + _unseen(evidence) + _from_training(evidence, left_out), left_out


def _of_real(evidence: Evidence) -> float | None:
    """How often real examples show their class, each class weighing as it does among the samples."""
    held_out, asked = evidence.held_out, np.asarray(evidence.samples.condition)
    return none_if_nan(
        standardized_share(judged_class(held_out) == held_out.condition, np.asarray(held_out.condition), asked)
    )


def _corrected(given: dict[str, Any], real: dict[str, Any]) -> tuple[list[Measurement], dict[str, str]]:
    try:
        result = corrected_agreement(given["confusion"], real["confusion"])
    except UsageError as error:
        return [], {"corrected_agreement": str(error)}
    row = Measurement(
        name="corrected_agreement",
        title="corrected class agreement",
        value=result.agreement,
        n=result.n,
        unit="share",
        note=_NOTES["corrected_agreement"],
        low=result.low,
        high=result.high,
        is_proxy=True,
    )
    return [row], {}


def _accuracy(evidence: Evidence, real: dict[str, Any]) -> Measurement:
    return proportion(
        "classifier_accuracy",
        "classifier accuracy",
        count=round(real["agreement"] * real["n"]),
        n=real["n"],
        note=_NOTES["classifier_accuracy"].format(evidence.judge.name),
    )


def _unseen(evidence: Evidence) -> list[Measurement]:
    """Agreement under the conditions that training never showed, apart."""
    condition = np.asarray(evidence.samples.condition)
    is_unseen = np.isin(condition, list(evidence.subject.withheld))
    if not is_unseen.any():
        return []
    is_right = judged_class(evidence.samples) == condition
    seen = is_right[~is_unseen]
    row = proportion(
        "unseen_combinations",
        "unseen combinations",
        count=int(is_right[is_unseen].sum()),
        n=int(is_unseen.sum()),
        note=_NOTES["unseen_combinations"],
    )
    return [row._replace(reference=float(seen.mean()) if seen.size else None, reference_title="seen combinations")]


def _from_training(evidence: Evidence, left_out: dict[str, str]) -> list[Measurement]:
    """Classification accuracy score, both ways: Ravuri and Vinyals 2019."""
    names = ("accuracy_from_samples", "accuracy_on_samples")
    if evidence.subject.accuracy_fn is None:
        left_out |= {name: evidence.subject.left_out.get(name, "pass --cas to train a classifier") for name in names}
        return []
    samples = evidence.samples
    results = evidence.subject.accuracy_fn(samples.values, np.asarray(samples.condition))
    titles = {names[0]: "learned from samples, tested on real", names[1]: "learned from real, tested on samples"}
    rows = []
    for name in names:
        right, n = results[name]
        row = proportion(name, titles[name], count=right, n=n, note=_NOTES[name])
        if "accuracy_from_real" in results:
            real_right, real_n = results["accuracy_from_real"]
            row = row._replace(reference=real_right / real_n, reference_title="learned from real, tested on real")
        rows.append(row)
    return rows


def _figures(evidence: Evidence, given: dict[str, Any], real: dict[str, Any] | None) -> list[Figure]:
    names = [evidence.class_name(index) for index in range(given["num_classes"])]
    is_exact = evidence.judge.world is not None
    columns = [*names, "invalid"] if is_exact else names
    unseen = [names[index] for index in evidence.subject.withheld if index < len(names)]
    bars = [
        Bar(
            name,
            none_if_nan(given["per_class"][index]),
            *clopper_pearson(int(given["confusion"][index, index]), int(given["per_class_n"][index])),
            int(given["per_class_n"][index]),
            None if real is None else _at(real, index),
        )
        for index, name in enumerate(names)
    ]
    caption = "Share of the samples of each class that show it; the worst class is the one to look at."
    confusion = given["confusion"][: len(names)].tolist()
    figures: list[Figure] = [
        Bars("per_class", "Agreement by class", caption, bars, "" if real is None else "real held-out examples"),
        Matrix(
            "adherence",
            "What was asked for, and what came",
            "Numbers of samples by condition (row) and by what the judge sees (column)."
            + (" Hatched rows were never shown in training." if unseen else ""),
            names,
            columns,
            confusion,
            unseen,
        ),
    ]
    return [*figures, *_attributes(evidence), *_judge(evidence)]


def _attributes(evidence: Evidence) -> list[Figure]:
    """Adherence attribute by attribute, and all at once, with unseen combinations apart."""
    world, samples = evidence.judge.world, evidence.samples
    if world is None or not world.mode_attributes:
        return []
    condition = np.asarray(samples.condition)
    is_unseen = np.isin(condition, list(evidence.subject.withheld))
    is_right = {
        name: samples.verdicts.attributes[name] == np.asarray(wanted)[condition]
        for name, wanted in world.mode_attributes.items()
    }
    is_right["all together"] = np.stack(list(is_right.values())).all(axis=0)
    groups = {"seen combinations": ~is_unseen, "unseen combinations": is_unseen}
    rows = [[name, *(_cell(right[chosen]) for chosen in groups.values())] for name, right in is_right.items()]
    caption = "Share of samples that show the value that was asked for, with its 95 % interval."
    return [Table("attributes", "Adherence by attribute", caption, ["attribute", *groups], rows)]


def _cell(is_right: np.ndarray) -> str:
    if not is_right.size:
        return "none asked for"
    low, high = clopper_pearson(int(is_right.sum()), is_right.size)
    return f"{format_share(float(is_right.mean()))} ({format_share(low)} to {format_share(high)})"


def _at(results: dict[str, Any], index: int) -> float | None:
    """The agreement of one class, None where there is none."""
    return none_if_nan(results["per_class"][index]) if index < len(results["per_class"]) else None


def _judge(evidence: Evidence) -> list[Figure]:
    """How good the classifier is, on real examples that it never saw."""
    logits, truth = evidence.held_out.verdicts.logits, evidence.held_out.condition
    if logits is None or truth is None:
        return []
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    quality = classifier_quality(probabilities, truth)
    rows = [
        ["accuracy", format_share(quality.accuracy)],
        ["F1, mean over classes", f"{np.nanmean(quality.f1):.3f}"],
        ["F1, worst class", f"{np.nanmin(quality.f1):.3f}"],
        ["area under precision and recall, mean over classes", f"{np.nanmean(quality.average_precision):.3f}"],
        ["expected calibration error", f"{quality.calibration_error:.3f}"],
    ]
    caption = f"{evidence.judge.name} on {len(truth)} real examples that no training saw: how far its word goes."
    return [Table("judge", "The classifier that judges", caption, ["", "value"], rows)]


_NOTE = (
    "Share of samples in which {}, a classifier of another architecture, sees the class that was asked for; far below "
    "class agreement while both read real images alike, the samples please the first classifier alone. Both learned "
    "from the training images that the model saw, so what they have in common is no second opinion."
)


def second_opinion(evidence: Evidence) -> Section:
    """What the second classifier sees in samples, and how often it and the first say the same.

    Args:
        evidence: what was looked at, with conditions.

    Returns:
        A section to put into that of the light "follows its condition"; the reason where there is no second opinion.
    """
    samples, held_out, judge = evidence.samples, evidence.held_out, evidence.judge
    if judge.world is not None:
        return Section(left_out={"second_opinion": "the world itself judges: nothing needs a second opinion"})
    if samples.verdicts.second is None:
        return Section(left_out={"second_opinion": "one classifier judges alone: leave --single-judge out"})
    is_right = samples.verdicts.second == samples.condition
    row = proportion(
        "second_opinion",
        "second opinion",
        count=int(is_right.sum()),
        n=samples.num,
        note=_NOTE.format(judge.second_name),
    )._replace(is_proxy=True)
    checks = []
    if held_out.condition is not None:
        is_real_right = held_out.verdicts.second == held_out.condition
        row = row._replace(
            reference=none_if_nan(
                standardized_share(is_real_right, np.asarray(held_out.condition), np.asarray(samples.condition))
            ),
            reference_title="same classifier on real held-out images",
        )
        ours, real = (~is_right, np.asarray(samples.condition)), (~is_real_right, np.asarray(held_out.condition))
        checks.append(mantel_haenszel_test("samples in which a second classifier sees another class", ours, real))
    return Section([row], checks, [_judges(evidence)])


def _judges(evidence: Evidence) -> Table:
    """Both classifiers on samples and on real examples, and how often they differ."""
    judge = evidence.judge
    rows = [_row("samples", evidence.samples), _row("real held-out examples", evidence.held_out)]
    caption = (
        "How often each classifier sees the class asked for in a sample, or the true class of a real example that no "
        "training saw, with 95 % intervals; and how often the two differ, whichever is right."
    )
    columns = ["", judge.name, judge.second_name, "both say the same", "they differ on"]
    return Table("judges", "Two classifiers of different architecture", caption, columns, rows)


def _row(title: str, examples: Examples) -> list[str]:
    seen = [np.asarray(each) for each in (examples.verdicts.predicted, examples.verdicts.second)]
    if examples.condition is None:
        right = ["no classes"] * 2
    else:
        right = [_with_interval(int(np.sum(each == examples.condition)), examples.num) for each in seen]
    num_same = int(np.sum(seen[0] == seen[1]))
    differ = f"{examples.num - num_same} of {examples.num}"
    return [title, *right, _with_interval(num_same, examples.num), differ]


def _with_interval(count: int, n: int) -> str:
    low, high = clopper_pearson(count, n)
    return f"{format_share(count / n)} ({format_share(low)} to {format_share(high)})"
