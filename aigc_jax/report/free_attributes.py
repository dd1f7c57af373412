"""C1, its second half: what a condition leaves free, if there is one, must be as varied in samples as in the world."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aigc_jax.metrics.permutation_tests import variety_test
from aigc_jax.report.condition import observed
from aigc_jax.report.examples import Examples
from aigc_jax.report.figures import Table
from aigc_jax.report.section import Evidence
from aigc_jax.report.wording import format_p
from aigc_jax.types import UsageError, World

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
        kept = _alike((samples[name], conditions[0]), (real[name], conditions[1]))
        if len(kept[0]):
            ours, theirs = (
                (of_all[name][index], condition[index])
                for of_all, condition, index in zip((samples, real), conditions, kept, strict=True)
            )
            found = variety_test(ours, theirs)
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
    seen = observed(examples)
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


def _alike(ours: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
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
