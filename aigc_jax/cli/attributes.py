"""Rules over attributes in ``aigc-jax sample``: their judge, and guidance towards them."""

from __future__ import annotations

from aigc_jax.cli.arguments import Sample
from aigc_jax.evaluation.attributes import RuleJudge, rule_judge
from aigc_jax.inference.reading import guided_by_rule, trained_reader
from aigc_jax.rules.circuit import circuit
from aigc_jax.rules.formula import formula
from aigc_jax.runs import load_run
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Experiment, UsageError


def judge_of(arguments: Sample, experiment: Experiment, config: TrainConfig) -> RuleJudge | None:
    """The judge of the rule of the command; None without one."""
    if arguments.rule is None:
        if arguments.rule_guidance or arguments.reader is not None:
            option = "--rule-guidance" if arguments.rule_guidance else "--reader"
            raise UsageError(f"got {option} without a rule: add --rule")
        return None
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


def names_of_attributes(arguments: Sample) -> dict[str, object]:
    """How files of samples under a rule are named."""
    given = {"rule": arguments.rule, "rule_guidance": arguments.rule_guidance or None}
    return {name: value for name, value in given.items() if value is not None}
