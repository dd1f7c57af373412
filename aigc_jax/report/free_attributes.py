"""C1, its second half: what a condition leaves free must be as varied in samples as in the world."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aigc_jax.metrics.conditional_entropy import ConditionalEntropy, conditional_entropy
from aigc_jax.report.condition import observed
from aigc_jax.report.examples import Examples
from aigc_jax.report.figures import Table
from aigc_jax.report.section import Evidence
from aigc_jax.types import UsageError, World

MIN_PER_CONDITION = 10
"""Examples of a condition from which its entropy is taken."""

_CAPTION = (
    "Entropy of each attribute in nats, mean over the conditions (Miller-Madow, 95 % intervals), of samples that are "
    "valid and follow their condition, beside as many real held-out examples of the same conditions; ln K is that of "
    "K equally likely values. Far below the real one: within a condition, the model makes a few of the possible things "
    "only (mode collapse), which no agreement with the condition shows. No light is lit by it."
)


def free_attributes(evidence: Evidence) -> Table:
    """The entropy of whatever the condition leaves free, of samples and of real examples.

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
    samples, real = (_shown(each, world, evidence.samples.condition is None) for each in _sides(evidence))
    if not samples:
        raise UsageError("the condition fixes all that the world reads")
    conditions = [_conditions(each, evidence.samples.condition is None) for each in _sides(evidence)]
    rows = []
    for name, values in samples.items():
        num_values = world.num_modes if name == "mode" else len(world.attributes[name])
        kept = _alike((values, conditions[0]), (real[name], conditions[1]))
        if len(kept[0]):
            ours, theirs = (
                conditional_entropy(of_all[name][index], condition[index], num_values)
                for of_all, condition, index in zip((samples, real), conditions, kept, strict=True)
            )
            most = f"{np.log(num_values):.3f} (K = {num_values})"
            rows.append([name, _cell(ours), _cell(theirs), most, str(len(ours.per_condition)), str(ours.n)])
    if not rows:
        raise UsageError(f"no condition has {MIN_PER_CONDITION} valid samples and real examples: ask for more samples")
    columns = ["attribute", "samples", "real held-out examples", "at most, ln K", "conditions", "examples of each"]
    return Table("free_attributes", "What the condition leaves free (C1)", _CAPTION, columns, rows)


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

    At one size, both entropies have what is left of the bias in common.
    """
    kept: tuple[list[np.ndarray], ...] = ([np.zeros(0, np.int64)], [np.zeros(0, np.int64)])
    for each in np.unique(ours[1]):
        found = [np.flatnonzero((values >= 0) & (condition == each)) for values, condition in (ours, real)]
        num = min(map(len, found))
        if num >= MIN_PER_CONDITION:
            for index, chosen in zip(found, kept, strict=True):
                chosen.append(index[:num])
    return [np.concatenate(chosen) for chosen in kept]


def _cell(found: ConditionalEntropy) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
