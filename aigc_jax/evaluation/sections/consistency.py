"""Consistency in five separate respects, C0 to C4, never blended into one number.

C0: the same key gives the same sample, however it is computed, and two keys never the same. C1: all seeds show what the
condition decides, and the rest is as varied as in the data. C2, C3, C4: another model, an earlier checkpoint, or a
small change of latent, steps or precision gives similar samples of the same noise.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from aigc_jax.evaluation.equivalence import Comparison, never
from aigc_jax.evaluation.examples import Examples, conditions_in_turn, numbered
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.evaluation.sections.paired_noise import NUM_PAIRED, common_violations, draw_pairs, gallery
from aigc_jax.metrics.consistency import max_ulp, miller_madow, seed_consistency, sensitivity
from aigc_jax.metrics.differences import pair_difference, repeat_difference
from aigc_jax.report.figures import Figure, Table
from aigc_jax.report.measurements import Details, Measurement, measure
from aigc_jax.report.schema import Check
from aigc_jax.types import UsageError, World

NUM_REPEATED = 64
"""Samples that are drawn again."""

MIN_PER_CONDITION = 10
"""Examples of a condition from which its variety is measured."""


def consistency(evidence: Evidence) -> Section:
    """C0 to C4. The criterion is decided by C0 alone: the others have no natural limit, so set one in a gate file."""
    left_out = dict(evidence.model.left_out)
    with ThreadPoolExecutor(1) as pool:
        again = _draw_again(evidence, pool)
        pairs, pair_rows = draw_pairs(evidence, left_out)
        replications = _replications(evidence, again)
    distinct, check = _distinct(evidence)
    measurements: list[Measurement] = [*replications.measurements, distinct]
    figures: list[Figure] = [*replications.figures]
    for name, section_fn in {"seed_consistency": _seeds, "latent_sensitivity": _latent_sensitivity}.items():
        try:
            measurements.append(section_fn(evidence))
        except UsageError as error:
            left_out[name] = str(error)
        if name == "seed_consistency":
            measurements += pair_rows
    varieties: list[Comparison] = []
    try:
        table, varieties = free_attributes(evidence)
        figures.append(table)
    except UsageError as error:
        left_out["free_attributes"] = str(error)
    figures += [*common_violations(evidence, pairs), *gallery(evidence, pairs)]
    names = ("model_consistency", "checkpoint_consistency", "perturbation", "step_consistency", "half_precision")
    names += ("seed_consistency", "latent_sensitivity", "free_attributes")
    reasons = {name: left_out[name] for name in names if name in left_out}
    return Section(
        "consistent", measurements, [*replications.checks, check, *varieties], figures, reasons, measurements[0].name
    )


def _draw_again(evidence: Evidence, pool: ThreadPoolExecutor) -> list[np.ndarray | Future[np.ndarray] | str]:
    """The first samples, and then those of each replication: drawn, being drawn, or the reason why not."""
    num = min(NUM_REPEATED, evidence.samples.num)
    given = (0, conditions_in_turn(0, num, evidence.model.num_classes), num)
    if not evidence.model.replications:
        return []
    begin = time.perf_counter()
    drawn: list[np.ndarray | Future[np.ndarray] | str] = [np.asarray(evidence.model.sample_fn(*given), np.float32)]
    seconds = time.perf_counter() - begin
    for each in evidence.model.replications:
        if seconds > each.max_seconds:
            drawn.append(f"left out: drawing takes {seconds:.0f} s, more than {each.max_seconds:.0f}")
        elif each.is_external:
            drawn.append(pool.submit(each.sample_fn, *given))
        else:
            try:
                drawn.append(np.asarray(each.sample_fn(*given), np.float32))
            except UsageError as error:
                drawn.append(f"failed: {error}")
    return drawn


def _replications(evidence: Evidence, drawn: list[np.ndarray | Future[np.ndarray] | str]) -> Section:
    """C0: the first samples compared with those of each replication."""
    if not drawn:
        return Section()
    checks: list[Check] = []
    rows: list[list[str]] = []
    num_same = num_all = 0
    modality, first = evidence.model.modality, np.asarray(drawn[0])
    for each, result in zip(evidence.model.replications, drawn[1:], strict=True):
        try:
            again = result.result() if isinstance(result, Future) else result
        except UsageError as error:
            again = f"failed: {error}"
        if isinstance(again, str):
            rows.append([each.title, again, "", "", ""])
            continue
        ours = np.asarray(modality.load(modality.store(first)), np.float32) if each.is_external else first
        ours, again = (values.reshape(len(first), -1) for values in (ours, np.asarray(again, np.float32)))
        difference = np.abs(ours - again).max(axis=1)
        is_same = difference <= each.tolerance
        if each.is_judged:
            num_same, num_all = num_same + int(is_same.sum()), num_all + len(is_same)
            title = f"samples that change when computed {each.title}"
            checks.append(never("repeatability", title, int((~is_same).sum()), len(is_same)))
        elif each.large_difference is not None:
            # A sampler of many steps may amplify the rounding of a few samples that much, but not of most.
            num_large = int(np.sum(difference > each.large_difference))
            count = num_large if 2 * num_large > len(difference) else 0
            title = f"samples that become others when computed {each.title}"
            checks.append(never("repeatability", title, count, len(difference)))
        equal = f"{int((difference == 0).sum())} of {len(difference)}"
        allowed = f"{each.tolerance:.1g}" if each.tolerance else "none"
        rows.append([each.title, equal, f"{difference.max():.2g}", f"{max_ulp(ours, again):.2g}", allowed])
    caption = (
        "The first samples drawn again from the same keys. Where rounding is allowed, the program is another one: it "
        "fails the criterion only where most samples become others."
    )
    columns = ["computed", "equal bit for bit", "largest difference", "in units of the last place", "allowed"]
    table = Table("repeats", "The same keys, computed again (C0)", caption, columns, rows)
    if not num_all:
        return Section(checks=checks, figures=[table])
    row = proportion("repeatability", num_same, num_all, reference=1.0, reference_title="a pure function")
    return Section(None, [row], checks, [table])


def _distinct(evidence: Evidence) -> tuple[Measurement, Comparison]:
    """C0: two keys hardly ever give the same sample, where real examples do not repeat themselves."""
    ours = numbered([evidence.samples.values])
    real = np.random.default_rng(0).permutation(numbered([evidence.held_out.values, evidence.train.values]))
    row = proportion("distinct_samples", 1 + int(ours.max()), evidence.samples.num)
    return row, Comparison("repeated_samples", repeat_difference(ours, real))


def _seeds(evidence: Evidence) -> Measurement:
    """C1: how far each condition decides the class, over all seeds."""
    samples, world = evidence.samples, evidence.judge.world
    if samples.condition is None:
        raise UsageError("no condition decides what a sample shows: the model is unconditional")
    if samples.predictions.predicted is None:
        raise UsageError(evidence.judge.why_none or f"{evidence.judge.name} predicts no classes")
    seen, logits = samples.judged_class, samples.predictions.logits
    num_logits = 0 if logits is None else logits.shape[-1]
    num_classes = max(evidence.model.num_classes or 0, len(evidence.judge.class_names), num_logits)
    # An invalid sample of a world has a value of its own.
    num_values = num_classes + (world is not None)
    if num_values < 2:
        raise UsageError("there is a single class: it is the same for all seeds")
    found = seed_consistency(np.where(seen < 0, num_classes, seen), samples.condition, num_values)
    worst = int(found.per_condition.argmin())
    name = evidence.class_name(int(np.unique(np.asarray(samples.condition))[worst]))
    name = f"class {name}" if name.isdigit() else name
    note = f"Least consistent: {name}, {found.per_condition[worst]:.2f}."
    details: Details = {"low": found.low, "high": found.high, "is_proxy": world is None}
    return measure("seed_consistency", found.value, found.n, note=note, **details)


def _latent_sensitivity(evidence: Evidence) -> Measurement:
    """C4: the exact change of a sample per unit of change of its latent, in a random direction."""
    model = evidence.model
    if model.latent_changes is None:
        raise UsageError(model.left_out.get("latent_sensitivity", "the model does not start from a single latent"))
    changes = model.latent_changes(min(NUM_PAIRED, evidence.samples.num))
    if num_broken := int((~np.isfinite(changes.reshape(len(changes), -1))).any(axis=1).sum()):
        raise UsageError(f"the derivative of {num_broken} of {len(changes)} samples by their latents is NaN or Inf")
    if not changes.any():
        raise UsageError("all derivatives are 0: the model rounds, or draws categories, after its latent")
    found = sensitivity(np.zeros_like(changes), changes, np.ones((len(changes), 1)))
    note = (
        f"95 % of samples below {found.quantile_95:.2g}; the largest, {found.largest:.2g}, is a lower bound of the "
        "model's Lipschitz constant."
    )
    return measure("latent_sensitivity", found.median, found.n, low=found.low, high=found.high, note=note)


_TITLES = {True: "Variety of samples (C1)", False: "Variety within a condition (C1)"}
"""For an unconditional model, and for a conditional one."""

_CAPTIONS = {
    True: "Entropy of each attribute in nats (Miller-Madow) of valid samples, and of as many real held-out examples. ",
    False: "Entropy of each attribute in nats (Miller-Madow), mean over the conditions, of valid samples that follow "
    "their condition, and of as many real held-out examples of the same conditions. ",
}

_CAPTION = (
    "Far below that of real examples: collapse. What decides is how often two examples are alike, which has no bias."
)


def free_attributes(evidence: Evidence) -> tuple[Table, list[Comparison]]:
    """Variety of the attributes that the condition leaves free, in samples and real examples."""
    world, sides = evidence.judge.world, (evidence.samples, evidence.held_out)
    if world is None:
        raise UsageError("only a synthetic data set reads attributes other than the class")
    is_unconditional = evidence.samples.condition is None
    samples, real = (_free_values(each, world, is_unconditional) for each in sides)
    if not samples:
        whole = "the synthetic data set reads no attribute but validity"
        raise UsageError(whole if is_unconditional else "the condition fixes all attributes that are read")
    conditions = [_conditions(each, is_unconditional) for each in sides]
    rows, comparisons = [], []
    for name in samples:
        ours, theirs = _match_counts(samples[name], conditions[0], real[name], conditions[1])
        if len(ours):
            values, groups = [samples[name][ours], real[name][theirs]], [conditions[0][ours], conditions[1][theirs]]
            rows.append([name, *(f"{_entropy(*side):.3f}" for side in zip(values, groups, strict=True))])
            comparisons.append(Comparison("variety", pair_difference(values, groups), name))
    if not rows:
        group = "set" if is_unconditional else "condition"
        raise UsageError(f"no {group} has {MIN_PER_CONDITION} valid samples and real examples: ask for more samples")
    columns = ["attribute", "samples (nats)", "real examples (nats)"]
    caption = _CAPTIONS[is_unconditional] + _CAPTION
    return Table("free_attributes", _TITLES[is_unconditional], caption, columns, rows), comparisons


def _entropy(values: np.ndarray, groups: np.ndarray) -> float:
    return float(np.mean([miller_madow(values[groups == each]) for each in np.unique(groups)]))


def _free_values(examples: Examples, world: World, is_unconditional: bool) -> Mapping[str, np.ndarray]:
    """``{free attribute: value [N]}``; -1 in an example that is invalid or of another condition."""
    seen, attributes = examples.judged_class, examples.predictions.attributes
    if is_unconditional:
        free = {**({"mode": seen} if world.num_modes > 1 else {}), **attributes}
        is_counted = seen >= 0
    else:
        free = {name: of for name, of in attributes.items() if name not in world.mode_attributes}
        is_counted = (seen >= 0) & (seen == _conditions(examples, is_unconditional))
    return {name: np.where(is_counted, values, -1) for name, values in free.items()}


def _conditions(examples: Examples, is_unconditional: bool) -> np.ndarray:
    """The condition of each sample; the class of a real example."""
    if is_unconditional:
        return np.zeros(examples.num, np.int64)
    return np.asarray(examples.predictions.predicted if examples.condition is None else examples.condition)


def _match_counts(
    values: np.ndarray, condition: np.ndarray, real_values: np.ndarray, real_condition: np.ndarray
) -> list[np.ndarray]:
    """Numbers of the first examples with a value, equally many of each condition on both sides.

    For sets of one size and distribution, both entropies have the same remaining bias.
    """
    kept = [[np.zeros(0, np.int64)] * 2]
    for each in np.unique(condition):
        sides = ((values, condition), (real_values, real_condition))
        found = [np.flatnonzero((side >= 0) & (of == each)) for side, of in sides]
        if (num := min(map(len, found))) >= MIN_PER_CONDITION:
            kept.append([index[:num] for index in found])
    return [np.concatenate(chosen) for chosen in zip(*kept, strict=True)]
