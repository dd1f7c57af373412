"""Rules over attributes in ``aigc-jax sample``: guidance towards them, and the samples that obey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aigc_jax.cli.arguments import Sample
from aigc_jax.cli.common import ids_of
from aigc_jax.evaluation.attributes import RuleJudge, guarantee, rule_judge
from aigc_jax.guards.acceptance import first_accepted
from aigc_jax.inference.reading import guided_by_rule, trained_reader
from aigc_jax.inference.sampling import BLOCK, SampleBlocksFn
from aigc_jax.progress import Progress
from aigc_jax.rules.circuit import circuit
from aigc_jax.rules.formula import formula
from aigc_jax.runs import load_run
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Experiment, UsageError, WriteFn


def judge_of(arguments: Sample, experiment: Experiment, config: TrainConfig) -> RuleJudge | None:
    """The judge of the rule of the command; None without one."""
    if arguments.rule is None:
        if arguments.rule_guidance or arguments.reader is not None:
            option = "--rule-guidance" if arguments.rule_guidance else "--reader"
            raise UsageError(f"got {option} without a rule: add --rule")
        return None
    if arguments.budget < 1:
        raise UsageError(f"expected --budget 1 or more, got {arguments.budget}: 50 is usual")
    if (arguments.rule_guidance == 0) != (arguments.reader is None):
        raise UsageError("expected --rule-guidance and --reader RUN together: pass both, or neither")
    return rule_judge(experiment, config, arguments.rule)


def guided(arguments: Sample, experiment: Experiment) -> Experiment:
    """The experiment with guidance towards the rule of the command, if it asks for it."""
    if arguments.rule is None or arguments.reader is None:
        return experiment
    other, _, variables = load_run(arguments.reader)
    if other.example_shape != experiment.example_shape:
        raise UsageError(
            f"{arguments.reader} reads examples of shape {other.example_shape}, this model makes "
            f"{experiment.example_shape}: name another --reader"
        )
    reader = trained_reader(other, variables)
    rule = circuit(formula(arguments.rule, reader.attributes, reader.groups))
    return guided_by_rule(experiment, reader, rule, arguments.rule_guidance)


def write_kept(
    arguments: Sample,
    judge: RuleJudge,
    draw: SampleBlocksFn,
    experiment: Experiment,
    condition: int | None,
    *,
    write: WriteFn,
    out: Path,
    names: Sequence[str],
) -> int:
    """Write the first samples that obey a rule; 1 where there are too few within the budget."""
    num = arguments.num
    ids = ids_of(experiment, condition, num * arguments.budget)
    with Progress(num, "samples", "sample") as bar:

        def candidates(start: int, size: int) -> np.ndarray:
            chosen = None if ids is None else ids[start : start + size]
            return experiment.modality.store(draw(start, chosen, size))

        def accept(examples: np.ndarray) -> np.ndarray:
            is_passed = judge.obeys(examples)
            bar.update(int(is_passed.sum()))
            return is_passed

        found = first_accepted(candidates, accept, num, max_draws=num * arguments.budget, block_size=BLOCK)
    share, low, high = found.acceptance
    passed = f"{found.num_passed} of {found.num_drawn} candidates obey the rule ({share:.1%}, {low:.1%} to {high:.1%})"
    if not len(found.places):
        raise UsageError(f"{passed}: nothing is written; raise --budget {arguments.budget}, or change the rule")
    write(out, [found.samples], None if ids is None else ids[found.places], num=len(found.places), names=names)
    print(f"wrote {len(found.places)} samples to {out}\n{passed}\n{guarantee(judge, found)}")
    if len(found.places) == num:
        return 0
    print(f"fewer than the {num} that --num asks for: raise --budget {arguments.budget}")
    return 1


def names_of_attributes(arguments: Sample) -> dict[str, object]:
    """How files of samples under a rule are named."""
    given = {"rule": arguments.rule, "rule_guidance": arguments.rule_guidance or None}
    return {name: value for name, value in given.items() if value is not None}
