"""Sampling of several models of sequences at once: a base, an expert and an anti-expert."""

from __future__ import annotations

from jaxtyping import Array

from aigc_jax.rng import example_keys
from aigc_jax.samplers.decoding import contrasted
from aigc_jax.types import Condition, Experiment, SequenceModel, UsageError, Variables

NAMES = ("base", "expert", "anti_expert")
"""The parts of the variables."""


def with_experts(experiment: Experiment, expert: Experiment, anti_expert: Experiment) -> Experiment:
    """An experiment that samples from base + alpha (expert - anti-expert), see :func:`contrasted`.

    Its variables are ``{"base": ..., "expert": ..., "anti_expert": ..., "alpha": number}``.
    """
    experiments = (experiment, expert, anti_expert)
    parts = [each.algorithm.sequences for each in experiments]
    base, pro, contra = parts
    if base is None or pro is None or contra is None:
        names = [each.modality.name for each, part in zip(experiments, parts, strict=True) if part is None]
        raise UsageError(f"experts are models that draw token by token, got one of {names[0]}: name runs of text")
    classes = {0 if each.conditions is None else len(each.conditions.names) for each in experiments}
    if len(classes) > 1:
        numbers = ", ".join(map(str, sorted(classes)))
        raise UsageError(f"experts must have as many classes as the run, got {numbers}: name runs of the same data")
    models = (base, pro, contra)

    def mixed(variables: Variables) -> SequenceModel:
        own, plus, minus = (part.model(variables[name]) for part, name in zip(models, NAMES, strict=True))
        return contrasted(own, plus, minus, variables["alpha"])

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        return base.draw(mixed(variables), example_keys(key, num_samples), condition)

    algorithm = experiment.algorithm._replace(sample=sample, sequences=base._replace(model=mixed), logits=None)
    return experiment._replace(algorithm=algorithm)
