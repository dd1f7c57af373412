"""Is the model the same each time, in each way? Five separate figures (C0 to C4), never blended into one.

C0: the same key gives the same sample, however it is computed, and two keys never the same. C1: what a condition
fixes is fixed over all seeds, and what it leaves free as varied as in the data. C2: another model makes the like of the
same noise. C3: so does an earlier checkpoint. C4: a little change of the latent, of the number of steps or of the
precision changes little, and how little.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from aigc_jax.evaluation.examples import Examples, condition_of
from aigc_jax.evaluation.model import Sampler
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.evaluation.sections.condition import judged_class
from aigc_jax.evaluation.sections.paired_noise import NUM_PAIRED, TITLES, agreement, draw_pair, strip, violations
from aigc_jax.evaluation.significance import duplicate_test, zero_tolerance_check
from aigc_jax.metrics.consistency import max_ulp, seed_consistency, sensitivity
from aigc_jax.metrics.permutation_tests import variety_test
from aigc_jax.report.figures import Figure, Table
from aigc_jax.report.formatting import format_p
from aigc_jax.report.schema import Check, Measurement
from aigc_jax.types import UsageError, World

NUM_REPEATED = 64
"""Samples that are drawn again."""


def consistency(evidence: Evidence) -> Section:
    """Five figures of consistency.

    Args:
        evidence: what was looked at.

    Returns:
        The section; its light is judged by C0 alone, the others have no natural pass mark: declare a target.
    """
    subject = evidence.subject
    replications, rows = _repeats(evidence)
    distinct, check = _distinct(evidence)
    left_out = {name: subject.left_out[name] for name in TITLES if name in subject.left_out}
    measurements: list[Measurement] = [*replications.measurements, distinct]
    try:
        measurements.append(_seeds(evidence))
    except UsageError as error:
        left_out["seed_consistency"] = str(error)
    pairs = []
    for paired_variant in subject.paired_variants:
        try:
            pairs.append(draw_pair(evidence, paired_variant))
            measurements.append(agreement(evidence, pairs[-1]))
        except UsageError as error:
            left_out[paired_variant.measurement] = f"{paired_variant.title}: {error}"
    try:
        measurements.append(_latent_sensitivity(evidence))
    except UsageError as error:
        left_out["latent_sensitivity"] = str(error)
    figures: list[Figure] = [rows] if subject.replications else []
    try:
        figures.append(free_attributes(evidence))
    except UsageError as error:
        left_out["free_attributes"] = str(error)
    figures += [*violations(evidence, pairs), *strip(evidence, pairs)]
    return Section(measurements, [*replications.checks, check], figures, left_out, measurements[0].name)


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


def _repeats(evidence: Evidence) -> tuple[Section, Table]:
    """C0: the first samples once more, in other ways."""
    checks: list[Check] = []
    rows: list[list[str]] = []
    num_same = num_all = 0
    begin = time.perf_counter()
    first = _first(evidence, evidence.subject.sample_fn, NUM_REPEATED) if evidence.subject.replications else np.zeros(0)
    seconds = time.perf_counter() - begin
    modality = evidence.subject.modality
    for repeat in evidence.subject.replications:
        if seconds > repeat.max_seconds:
            reason = f"left out: the samples take {seconds:.0f} s, more than {repeat.max_seconds:.0f}"
            rows.append([repeat.title, reason, "", "", ""])
            continue
        ours = modality.load(modality.store(first)) if repeat.is_eight_bit else first
        try:
            again = _first(evidence, repeat.sample_fn, len(first))
        except UsageError as error:
            rows.append([repeat.title, f"failed: {error}", "", "", ""])
            continue
        ours, again = (each.reshape(len(first), -1) for each in (ours, again))
        difference = np.abs(ours - again).max(axis=1)
        is_same = difference <= repeat.tolerance
        if repeat.is_judged:
            num_same, num_all = num_same + int(is_same.sum()), num_all + len(is_same)
            title = f"samples that change when computed {repeat.title}"
            checks.append(zero_tolerance_check(title, int((~is_same).sum()), len(is_same)))
        elif repeat.gross is not None:
            num_other = int(np.sum(difference > repeat.gross))
            title = f"samples that become others when computed {repeat.title}"
            # A sampler of many steps may carry the rounding of a few samples that far, but not that of most.
            checks.append(
                zero_tolerance_check(title, num_other if 2 * num_other > len(difference) else 0, len(difference))
            )
        allowed = f"{repeat.tolerance:.1g}" if repeat.tolerance else "none"
        equal = f"{int((difference == 0).sum())} of {len(difference)}"
        ulp = f"{max_ulp(ours, again):.2g}"
        rows.append([repeat.title, equal, f"{difference.max():.2g}", ulp, allowed])
    caption = (
        "The first samples drawn again from the same keys. Where rounding is allowed, it is of another compilation: "
        "such a row lights the light only where most samples become others."
    )
    columns = ["computed", "equal bit for bit", "largest difference", "in units of the last place", "allowed"]
    table = Table("repeats", "The same keys, computed again (C0)", caption, columns, rows)
    if not num_all:
        return Section(checks=checks), table
    note = "Share of repeated samples that came out the same, within the rounding of the way they were computed."
    row = proportion("repeatability", "C0, equal repeats", count=num_same, n=num_all, note=note)
    return Section([row._replace(reference=1.0, reference_title="what a pure function gives")], checks), table


def _first(evidence: Evidence, sample_fn: Sampler, num: int) -> np.ndarray:
    """The first samples."""
    num = min(num, evidence.samples.num)
    return np.asarray(sample_fn(0, condition_of(0, num, evidence.subject.num_classes), num), np.float32)


def _distinct(evidence: Evidence) -> tuple[Measurement, Check]:
    """C0: two keys hardly ever give the same sample, where real examples do not repeat themselves."""
    n, num_distinct = evidence.samples.num, len(first_occurrences(evidence.samples.values))
    real = [evidence.held_out.values, evidence.train.values]
    title, num_real = "samples that equal an earlier one", sum(map(len, real))
    check = duplicate_test(title, n - num_distinct, n, real_pairs=repeated_pairs(real), num_real=num_real)
    note = (
        "Share of samples that no earlier one equals. Fewer than expected: keys are used twice, or little can be made."
    )
    row = proportion("distinct_samples", "C0, distinct samples", count=num_distinct, n=n, note=note)
    return row._replace(reference=1 - check.reference, reference_title="at least, of independent draws"), check


def _seeds(evidence: Evidence) -> Measurement:
    """C1: how far each condition fixes the class, over all seeds."""
    samples, world = evidence.samples, evidence.judge.world
    if samples.condition is None or samples.verdicts.predicted is None:
        raise UsageError("no condition fixes what a sample shows: the model is unconditional")
    seen, logits = judged_class(samples), samples.verdicts.logits
    num_classes = max(
        evidence.subject.num_classes or 0,
        len(evidence.judge.class_names),
        0 if logits is None else logits.shape[-1],
    )
    # What a world finds invalid is a value of its own.
    num_values = num_classes + (world is not None)
    result = seed_consistency(np.where(seen < 0, num_classes, seen), samples.condition, num_values)
    worst = int(result.per_condition.argmin())
    note = (
        "1 - H(class | condition) / ln K, mean over conditions: 1 where every seed gives the same class; least "
        f"consistent: {_condition_name(evidence, worst)}, {result.per_condition[worst]:.2f}. A conservative interval."
    )
    return Measurement(
        "seed_consistency", "C1, across seeds", result.value, result.n, "share", note, result.low, result.high
    )._replace(is_proxy=world is None)


def _condition_name(evidence: Evidence, place: int) -> str:
    """What the condition is called that is at this place of those that occur; a bare number, as of digits, a class."""
    name = evidence.class_name(int(np.unique(np.asarray(evidence.samples.condition))[place]))
    return f"class {name}" if name.isdigit() else name


def _latent_sensitivity(evidence: Evidence) -> Measurement:
    """C4: the exact change of a sample for each unit of change of its latent, in a random direction."""
    subject, name = evidence.subject, "latent_sensitivity"
    if subject.latent_changes is None:
        raise UsageError(subject.left_out.get(name, "the model starts from no one latent that could be moved"))
    changes = subject.latent_changes(min(NUM_PAIRED, evidence.samples.num))
    if num_broken := int((~np.isfinite(changes.reshape(len(changes), -1))).any(axis=1).sum()):
        raise UsageError(f"the derivative of {num_broken} of {len(changes)} samples by their latents is NaN or Inf")
    if not changes.any():
        raise UsageError("all derivatives are 0: this model rounds or draws what it makes of a latent, by steps")
    found = sensitivity(np.zeros_like(changes), changes, np.ones((len(changes), 1)))
    note = (
        "Median length of a sample's change for each unit of change of its latent, by the exact derivative along one "
        f"random direction each; 95 % of samples below {found.quantile_95:.2g}, the largest {found.largest:.2g}, below "
        "which no Lipschitz constant of the model can be. Compare models of the same latents and examples only."
    )
    row = Measurement(
        name, "C4, change per unit of latent", found.median, found.n, "score", note, found.low, found.high
    )
    return row._replace(lower_is_better=True)


MIN_PER_CONDITION = 10
"""Examples of a condition from which it is looked at."""

_TITLES = {True: "How varied samples are (C1)", False: "What the condition leaves free (C1)"}
"""For a model without a condition, and for one with it."""

_CAPTIONS = {
    True: "Entropy of each attribute in nats (Miller-Madow), of valid samples, beside as many real held-out examples. ",
    False: "Entropy of each attribute in nats, mean over the conditions (Miller-Madow), of samples that are valid and "
    "follow their condition, beside as many real held-out examples of the same conditions. ",
}

_CAPTION = (
    "Both entropies are too low by the same few examples only where the laws are the same, so go by p: the chance that "
    "the first of two sets of one law{} had so many more pairs of equal examples (one-sided permutation test of "
    "Simpson's index). {} is a small p. No light is lit by it."
)


def free_attributes(evidence: Evidence) -> Table:
    """How varied whatever the condition leaves free is in samples, against real examples.

    Args:
        evidence: what was looked at.

    Returns:
        The table.

    Raises:
        UsageError: nothing is free that can be read, or there are too few examples.
    """
    world = evidence.judge.world
    if world is None:
        raise UsageError("only a world reads what an example shows beside its class")
    is_unconditional = evidence.samples.condition is None
    samples, real = (_shown(each, world, is_unconditional) for each in _sides(evidence))
    if not samples:
        whole = "the world reads nothing of an example but whether it is valid"
        raise UsageError(whole if is_unconditional else "the condition fixes all that the world reads")
    conditions = [_conditions(each, is_unconditional) for each in _sides(evidence)]
    rows = []
    for name in samples:
        kept = match_class_counts((samples[name], conditions[0]), (real[name], conditions[1]))
        if len(kept[0]):
            ours, theirs = (
                (of_all[name][index], condition[index])
                for of_all, condition, index in zip((samples, real), conditions, kept, strict=True)
            )
            found = variety_test(*ours, *theirs)
            rows.append([name, f"{found.entropy:.3f}", f"{found.reference:.3f}", format_p(found.p_value)])
    if not rows:
        group = "set" if is_unconditional else "condition"
        raise UsageError(f"no {group} has {MIN_PER_CONDITION} valid samples and real examples: ask for more samples")
    columns = ["attribute", "samples (nats)", "real examples (nats)", "less varied than real: p"]
    words = ("", "Mode collapse") if is_unconditional else (" in each condition", "Collapse within a condition")
    caption = _CAPTIONS[is_unconditional] + _CAPTION.format(*words)
    return Table("free_attributes", _TITLES[is_unconditional], caption, columns, rows)


def _sides(evidence: Evidence) -> tuple[Examples, Examples]:
    return evidence.samples, evidence.held_out


def _shown(examples: Examples, world: World, is_unconditional: bool) -> Mapping[str, np.ndarray]:
    """``{attribute: value [N]}`` of those that are free; -1 in an example that is invalid or of another condition."""
    seen = judged_class(examples)
    if is_unconditional:
        free = dict(examples.verdicts.attributes)
        if world.num_modes > 1:
            free = {"mode": seen, **free}
        is_counted = seen >= 0
    else:
        free = {name: of for name, of in examples.verdicts.attributes.items() if name not in world.mode_attributes}
        is_counted = (seen >= 0) & (seen == _conditions(examples, is_unconditional))
    return {name: np.where(is_counted, values, -1) for name, values in free.items()}


def _conditions(examples: Examples, is_unconditional: bool) -> np.ndarray:
    """What each example was asked for; a real one for what it is."""
    if is_unconditional:
        return np.zeros(examples.num, np.int64)
    return np.asarray(examples.verdicts.predicted if examples.condition is None else examples.condition)


def match_class_counts(ours: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """Numbers of the first examples that show a value, equally many of each condition on both sides.

    At one size and of one law, both entropies have what is left of the bias in common.
    """
    kept: tuple[list[np.ndarray], ...] = ([np.zeros(0, np.int64)], [np.zeros(0, np.int64)])
    for each in np.unique(ours[1]):
        found = [np.flatnonzero((values >= 0) & (condition == each)) for values, condition in (ours, real)]
        num = min(map(len, found))
        if num >= MIN_PER_CONDITION:
            for index, chosen in zip(found, kept, strict=True):
                chosen.append(index[:num])
    return [np.concatenate(chosen) for chosen in kept]
