"""Rules over attributes of samples, which a world reads exactly, or the classifier of the data with known errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from aigc_jax.data.arrays import take
from aigc_jax.evaluation.classifiers import load_judge
from aigc_jax.guards.acceptance import Accepted, violation_bound
from aigc_jax.inference.reading import LABEL
from aigc_jax.rules.diagram import MAX_ASSIGNMENTS, diagram
from aigc_jax.rules.formula import Formula, formula, is_true
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.worlds import modality_of
from aigc_jax.types import Experiment, Readings, UsageError, World


class RuleJudge(NamedTuple):
    """Decides which samples obey a rule, by what it reads in them as they are stored: what is judged is written."""

    name: str
    rule: Formula
    read: Callable[[np.ndarray], dict[str, np.ndarray]]
    held_out: tuple[np.ndarray, np.ndarray] | None = None
    """Of held-out examples the class as it reads it, and as it is; None where it is exact."""

    def obeys(self, examples: np.ndarray) -> Bool[np.ndarray, " num"]:
        """Whether each example obeys the rule, as far as it is read."""
        return is_true(self.rule, self.read(examples))


def rule_judge(experiment: Experiment, config: TrainConfig, text: str) -> RuleJudge:
    """The judge of a rule on a model's samples; a classifier is trained on first use and cached.

    Raises:
        UsageError: the rule is broken or nothing obeys it; or the data have neither a world that reads attributes nor
            classes.
    """
    world = experiment.world
    if world is not None:
        if world.readings is None:
            raise UsageError(f"got --rule, but {world.name} has no attributes: leave it out")
        rule = checked_rule(text, world.readings)
        return RuleJudge(world.name, rule, _exact(world, world.readings))
    data = experiment.open_data() if experiment.judges else None
    if data is None or len(data.class_names) < 2:
        raise UsageError("got --rule, but the data of this run have neither classes nor attributes: leave it out")
    rule = formula(text, {LABEL: tuple(data.class_names)})
    diagram(rule)
    judge = load_judge(experiment, config, data).judge

    def read(examples: np.ndarray) -> dict[str, np.ndarray]:
        predicted = judge.predict(judge.modality.load(examples)).predicted
        return {LABEL: np.full(len(examples), -1) if predicted is None else predicted}

    rows = take(data.held_out, np.arange(len(data.held_out)))
    return RuleJudge(judge.name, rule, read, (read(rows[judge.modality.name])[LABEL], rows["label"]))


def checked_rule(text: str, readings: Readings) -> Formula:
    """A formula over the attributes of a world; one that nothing obeys is refused, where it is small enough to say."""
    rule = formula(text, readings.attributes, readings.groups)
    if math.prod(map(len, rule.attributes.values())) <= MAX_ASSIGNMENTS:
        diagram(rule)
    return rule


def guarantee(judge: RuleJudge, accepted: Accepted) -> str:
    """How certain it is that accepted samples obey the rule, in one line."""
    if judge.held_out is None:
        return f"{judge.name} reads attributes exactly: all samples that are kept obey the rule"
    passes, obeys = (is_true(judge.rule, {LABEL: values}) for values in judge.held_out)
    num_broken, num_false = int(np.sum(~obeys)), int(np.sum(passes & ~obeys))
    bound = violation_bound(num_false, num_broken, accepted)
    return (
        f"{judge.name} passes {num_false} of {num_broken} held-out examples that break the rule: with probability 95 % "
        f"at most {bound:.2%} of the samples that are kept break it, if it is wrong of samples as often"
    )


def _exact(world: World, readings: Readings) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    modality = modality_of(world)

    def read(examples: np.ndarray) -> dict[str, np.ndarray]:
        found = readings.read(jnp.asarray(modality.load(examples)))
        return {name: np.asarray(values) for name, values in found.items()}

    return read
