"""Is the model the same each time, in each way? Five separate figures (C0 to C4), never blended into one.

C0: the same key gives the same sample, however it is computed, and two keys never the same. C1: what a condition
fixes is fixed over all seeds, and what it leaves free as varied as in the data. C2: another model makes the like of the
same noise. C3: so does an earlier checkpoint. C4: a little change of the latent, of the number of steps or of the
precision changes little, and how little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aigc_jax.data.images import to_float, to_uint8
from aigc_jax.metrics.consistency import reproducibility, seed_consistency
from aigc_jax.metrics.stability import determinism, drift, sensitivity
from aigc_jax.report.condition import observed
from aigc_jax.report.examples import Examples, condition_of, draw
from aigc_jax.report.figures import Figure, Gallery, Table
from aigc_jax.report.free_attributes import free_attributes
from aigc_jax.report.lamps import never, too_many_repeats
from aigc_jax.report.report import Check, Measurement
from aigc_jax.report.section import Evidence, Section, share
from aigc_jax.report.subject import Repeat
from aigc_jax.types import UsageError

NUM_PAIRED, MIN_PER_CLASS = 256, 10
"""Samples that are drawn anew from each counterpart, and whose latents are changed; pairs of a class from which its
mean is taken."""

_TITLES = {
    "model_consistency": "C2, across models",
    "checkpoint_consistency": "C3, across checkpoints",
    "perturbation": "C4, a latent moved a little",
    "step_consistency": "C4, twice the steps",
    "half_precision": "C4, weights in half precision",
}


class Pair(NamedTuple):
    """Samples and their counterparts.

    Attributes:
        measurement: what they are measured for.
        title: what was changed.
        samples: the counterparts.
    """

    measurement: str
    title: str
    samples: Examples


def consistency(evidence: Evidence) -> Section:
    """Five figures of consistency.

    Args:
        evidence: what was looked at.

    Returns:
        The section; its light is judged by C0 alone, the others have no natural pass mark: declare a target.
    """
    subject = evidence.subject
    repeats, rows = _repeats(evidence)
    distinct, check = _distinct(evidence)
    left_out = {name: subject.left_out[name] for name in _TITLES if name in subject.left_out}
    measurements: list[Measurement] = [*repeats.measurements, distinct]
    seeds = _seeds(evidence)
    if seeds is None:
        left_out["seed_consistency"] = "no condition fixes what a sample shows: the model is unconditional"
    else:
        measurements.append(seeds)
    pairs = []
    for counterpart in subject.counterparts:
        try:
            pairs.append(_drawn(evidence, *counterpart))
            measurements.append(_paired(evidence, pairs[-1]))
        except UsageError as error:
            left_out[counterpart.measurement] = f"{counterpart.title}: {error}"
    try:
        measurements.append(_latent_sensitivity(evidence))
    except UsageError as error:
        left_out["latent_sensitivity"] = str(error)
    figures: list[Figure] = [rows] if subject.repeats else []
    try:
        figures.append(free_attributes(evidence))
    except UsageError as error:
        left_out["free_attributes"] = str(error)
    figures += _strip(evidence, pairs)
    return Section(measurements, [*repeats.checks, check], figures, left_out, measurements[0].name)


def first_occurrences(values: np.ndarray) -> np.ndarray:
    """Numbers of the examples that equal no earlier one.

    Args:
        values: examples [N, ...].

    Returns:
        Increasing int [num_distinct].

    >>> first_occurrences(np.array([[3], [1], [3], [2]]))
    array([0, 1, 3])
    """
    _, first = np.unique(values.reshape(len(values), -1), axis=0, return_index=True)
    return np.sort(first)


def repeated_pairs(sets: Sequence[np.ndarray]) -> int:
    """How many pairs of examples are equal.

    Args:
        sets: examples [N, ...] of one shape.

    Returns:
        The number of pairs, within and across the sets.

    >>> repeated_pairs([np.array([[3], [1], [3]]), np.array([[3]])])
    3
    """
    values = np.concatenate([each.reshape(len(each), -1) for each in sets])
    _, counts = np.unique(values, axis=0, return_counts=True)
    return int(np.sum(counts * (counts - 1) // 2))


def without_class_means(sets: Sequence[np.ndarray], condition: np.ndarray | None) -> list[np.ndarray]:
    """Features less the mean of their condition over all sets: what is left is what the condition does not say.

    Args:
        sets: features [N, F], row i of each of the same condition.
        condition: of each row, int [N]; None for one mean of all, as where a condition has hardly any rows.

    Returns:
        The differences, in the order of ``sets``.

    >>> without_class_means([np.array([[1.0], [5.0]]), np.array([[3.0], [7.0]])], None)
    [array([[-3.],
           [ 1.]]), array([[-1.],
           [ 3.]])]
    """
    index = np.zeros(len(sets[0]), np.int64) if condition is None else np.unique(condition, return_inverse=True)[1]
    if len(index) < MIN_PER_CLASS * (int(index.max()) + 1):
        # A mean of one or two pairs would take away what they have in common.
        index = np.zeros_like(index)
    total = np.zeros((int(index.max()) + 1, sets[0].shape[1]))
    for features in sets:
        np.add.at(total, index, features)
    means = total / (len(sets) * np.bincount(index)[:, None])
    return [features - means[index] for features in sets]


def _repeats(evidence: Evidence) -> tuple[Section, Table]:
    """C0: the first samples once more, in other ways."""
    checks: list[Check] = []
    rows: list[list[str]] = []
    num_same = num_all = 0
    for repeat in evidence.subject.repeats:
        try:
            ours, again = _repeated(evidence, repeat)
        except UsageError as error:
            rows.append([repeat.title, f"failed: {error}", "", "", ""])
            continue
        difference = np.abs(ours - again).max(axis=1)
        is_same = difference <= repeat.tolerance
        if repeat.is_judged:
            num_same, num_all = num_same + int(is_same.sum()), num_all + len(is_same)
            title = f"samples that change when computed {repeat.title}"
            checks.append(never(title, int((~is_same).sum()), len(is_same)))
        allowed = f"{repeat.tolerance:.1g}" if repeat.tolerance else "none"
        equal = f"{int((difference == 0).sum())} of {len(difference)}"
        found = determinism(ours, again)
        ulp = "" if found.max_ulp is None else f"{found.max_ulp:.2g}"
        rows.append([repeat.title, equal, f"{difference.max():.2g}", ulp, allowed])
    caption = (
        "The first samples drawn again from the same keys. Where rounding is allowed, it is of another compilation."
    )
    columns = ["computed", "equal bit for bit", "largest difference", "in units of the last place", "allowed"]
    table = Table("repeats", "The same keys, computed again (C0)", caption, columns, rows)
    if not num_all:
        return Section(), table
    note = "Share of repeated samples that came out the same, within the rounding of the way they were computed."
    row = share("repeatability", "C0, repeated samples that are the same", count=num_same, n=num_all, note=note)
    return Section([row._replace(reference=1.0, reference_title="what a pure function gives")], checks), table


def _repeated(evidence: Evidence, repeat: Repeat) -> list[np.ndarray]:
    """The first samples and their repetitions, each [num, numbers of a sample]."""
    num = min(repeat.num, evidence.samples.num)
    condition = condition_of(0, num, evidence.subject.num_classes)
    ours, again = (
        np.asarray(sample_fn(0, condition, num), np.float32)
        for sample_fn in (evidence.subject.sample_fn, repeat.sample_fn)
    )
    if repeat.is_eight_bit:
        ours = to_float(to_uint8(ours))
    return [ours.reshape(num, -1), again.reshape(num, -1)]


def _distinct(evidence: Evidence) -> tuple[Measurement, Check]:
    """C0: two keys hardly ever give the same sample, where real examples do not repeat themselves."""
    n, num_distinct = evidence.samples.num, len(first_occurrences(evidence.samples.values))
    real = [evidence.held_out.values, evidence.train.values]
    title, num_real = "samples that equal an earlier one", sum(map(len, real))
    check = too_many_repeats(title, n - num_distinct, n, real_pairs=repeated_pairs(real), num_real=num_real)
    note = (
        "Share of samples that no earlier one equals. Fewer than expected: keys are used twice, or little can be made."
    )
    row = share("distinct_samples", "C0, distinct samples", count=num_distinct, n=n, note=note)
    return row._replace(reference=1 - check.reference, reference_title="at least, of independent draws"), check


def _seeds(evidence: Evidence) -> Measurement | None:
    """C1: how far each condition fixes the class, over all seeds."""
    samples = evidence.samples
    if samples.condition is None or samples.verdicts.predicted is None:
        return None
    seen = observed(samples)
    num_values = 2 + int(max(seen.max(), samples.condition.max()))
    # An invalid sample is a value of its own.
    result = seed_consistency(np.where(seen < 0, num_values - 1, seen), samples.condition, num_values)
    note = "1 - H(class | condition) / ln K, mean over conditions: 1 where every seed gives the same class."
    return Measurement(
        "seed_consistency", "C1, across seeds", result.value, result.n, "share", note, result.low, result.high
    )._replace(is_proxy=evidence.judge.world is None)


def _drawn(evidence: Evidence, measurement: str, title: str, sample_fn: object) -> Pair:
    num = min(NUM_PAIRED, evidence.samples.num)
    drawn = draw(sample_fn, evidence.judge, num, num_classes=evidence.subject.num_classes, title=title)  # pyright: ignore[reportArgumentType]
    return Pair(measurement, title, drawn)


def _paired(evidence: Evidence, pair: Pair) -> Measurement:
    """How often a sample and its counterpart are alike, beside pairs that share only their condition."""
    ours = evidence.samples.select(slice(0, pair.samples.num))
    features = without_class_means([ours.verdicts.features, pair.samples.verdicts.features], ours.condition)
    result = reproducibility(*features, condition=ours.condition)
    if np.isnan(result.chance):
        raise UsageError("no two samples have one condition, so that chance cannot be told: ask for more samples")
    values = ours.floats()
    change = sensitivity(values, pair.samples.floats(), values)
    return Measurement(
        pair.measurement,
        f"{_TITLES[pair.measurement]}: {pair.title}",
        result.value,
        result.n,
        "share",
        "Share of samples whose features are alike (cosine above 0.6, class means taken out) to those of "
        f"their counterpart of the same noise; median change relative to "
        f"the sample {change.median:.2g}, 95 % of samples below {change.quantile_95:.2g}.{_drift(ours, pair)}",
        result.low,
        result.high,
        reference=result.chance,
        reference_title="chance: shuffled pairs of the same condition",
        is_proxy=True,
    )


def _latent_sensitivity(evidence: Evidence) -> Measurement:
    """C4: the exact change of a sample for each unit of change of its latent, in a random direction."""
    subject, name = evidence.subject, "latent_sensitivity"
    if subject.latent_changes is None:
        raise UsageError(subject.left_out.get(name, "the model starts from no one latent that could be moved"))
    changes = subject.latent_changes(min(NUM_PAIRED, evidence.samples.num))
    if num_broken := int((~np.isfinite(changes.reshape(len(changes), -1))).any(axis=1).sum()):
        raise UsageError(f"the derivative of {num_broken} of {len(changes)} samples by their latents is NaN or Inf")
    found = sensitivity(np.zeros_like(changes), changes, np.ones((len(changes), 1)))
    note = (
        "Median length of a sample's change for each unit of change of its latent, by the exact derivative along one "
        f"random direction each; 95 % of samples below {found.quantile_95:.2g}, the largest {found.largest:.2g}, below "
        "which no Lipschitz constant of the model can be. Compare models of the same latents and examples only."
    )
    row = Measurement(
        name, "C4, change per unit of latent", found.median, found.n, "score", note, found.low, found.high
    )
    return row._replace(is_less_better=True)


def _drift(ours: Examples, pair: Pair) -> str:
    """Whether the classes are seen in other shares than at the earlier checkpoint."""
    classes, earlier = ours.verdicts.predicted, pair.samples.verdicts.predicted
    if pair.measurement != "checkpoint_consistency" or classes is None or earlier is None:
        return ""
    num_values = 1 + int(max(classes.max(), earlier.max()))
    found = drift(*(np.bincount(each, minlength=num_values) for each in (earlier, classes)))
    return f" Drift of the class shares (PSI) {found.psi:.3f}; chance alone stays below {found.limit:.3f}."


def _strip(evidence: Evidence, pairs: Sequence[Pair]) -> list[Figure]:
    """The first samples above their counterparts."""
    if evidence.samples.values.dtype != np.uint8 or not pairs:
        return []
    num = min(10, pairs[0].samples.num)
    groups = [evidence.samples.values[:num], *(pair.samples.values[:num] for pair in pairs)]
    groups = [to_uint8(group) if group.dtype != np.uint8 else group for group in groups]
    titles = ["the model", *(pair.title for pair in pairs)]
    caption = "Each column is made of the same noise and the same condition, with one thing changed from row to row."
    return [Gallery("paired_noise", "The same noise, otherwise", caption, groups, [[] for _ in groups], titles)]
