"""Attributes of examples by a trained model, as functions that guidance and losses differentiate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from aigc_jax.losses.semantic import semantic_loss
from aigc_jax.rng import example_keys
from aigc_jax.samplers.guidance import reward
from aigc_jax.samplers.sampling import WithVariance
from aigc_jax.types import Condition, Experiment, UsageError, Variables
from aigc_jax.types.rules import Circuit

LABEL = "label"
"""The attribute that a classifier reads."""


_NO_READER = "expected the run of a reader of attributes or of a classifier: aigc-jax train attribute_reader"


class Reader(NamedTuple):
    """A trained reader.

    Attributes:
        attributes: ``{name: names of its values}``.
        groups: names for several of them.
        log_probs: ``examples [B, ...] -> {name: log probabilities [B, values]}``.
    """

    attributes: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[str]]
    log_probs: Callable[[Array], dict[str, Array]]


def trained_reader(experiment: Experiment, variables: Variables, class_names: Sequence[str] = ()) -> Reader:
    """The reader that a run is: of the attributes of its world, or of the class by a classifier.

    Args:
        experiment: of an attribute reader or a classifier.
        variables: its weights.
        class_names: of a classifier; () for those of its conditions.

    Raises:
        UsageError: the run reads nothing.
    """
    evaluate = experiment.algorithm.evaluate
    if evaluate is None:
        raise UsageError(_NO_READER)
    spec = {"example": experiment.batch_spec["example"]}
    outputs = jax.eval_shape(evaluate, variables, spec, jax.random.key(0))
    readings = None if experiment.world is None else experiment.world.readings
    names = tuple(class_names) or (() if experiment.conditions is None else tuple(experiment.conditions.names))
    if "attribute_logits" in outputs and readings is not None:
        entry, attributes, groups = "attribute_logits", readings.attributes, readings.groups
    elif "logits" in outputs and names and outputs["logits"].shape[1:] == (len(names),):
        entry, attributes, groups = "logits", {LABEL: names}, {}
    else:
        raise UsageError(_NO_READER)
    ends = np.cumsum([len(values) for values in attributes.values()])[:-1].tolist()

    def log_probs(examples: Array) -> dict[str, Array]:
        logits = evaluate(variables, {"example": examples}, jax.random.key(0))[entry]
        parts = jnp.split(logits, ends, axis=-1)
        return {name: jax.nn.log_softmax(own) for name, own in zip(attributes, parts, strict=True)}

    return Reader(attributes, groups, log_probs)


def guided_by_rule(experiment: Experiment, reader: Reader, circuit: Circuit, scale: float) -> Experiment:
    """An experiment whose samples are drawn towards a rule, see :func:`aigc_jax.samplers.guidance.reward`.

    Raises:
        UsageError: the model denoises no examples.
    """
    denoising = experiment.algorithm.denoising
    if denoising is None or denoising.is_in_latents:
        raise UsageError("got guidance by a rule, but this run denoises no examples: name one such as flow_digits")
    draw, guide = (
        denoising.draw,
        reward(denoising.process, lambda x_0: -semantic_loss(circuit, reader.log_probs(x_0)), scale),
    )

    def sample(variables: Variables, key: Array, num_samples: int, condition: Condition) -> Array:
        denoise = denoising.denoiser(variables)
        guided = guide(denoise)
        # A learned variance stays that of the model.
        guided = denoise._replace(denoise=guided) if isinstance(denoise, WithVariance) else guided
        return draw(guided, example_keys(key, num_samples), condition)[0]

    return experiment._replace(algorithm=experiment.algorithm._replace(sample=sample))
