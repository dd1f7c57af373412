"""The semantic loss of a rule that a config names, by a trained reader of its attributes."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from aigc_jax.losses.semantic import ExamplesFn, semantic
from aigc_jax.rules.circuit import circuit
from aigc_jax.rules.formula import formula
from aigc_jax.train.pretrained import load_reader
from aigc_jax.types import LossTransform, UsageError


def rule_transform(
    rule: str, reader: str | None, examples_fn: ExamplesFn, *, weight: float, load_module: Callable[[str], ModuleType]
) -> LossTransform:
    """The semantic loss of a rule as a transform; the identity for an empty one.

    Args:
        rule: see :mod:`aigc_jax.rules.formula`.
        reader: the run directory of a reader, see :func:`aigc_jax.train.pretrained.load_reader`.
        examples_fn: what the model makes, see :func:`aigc_jax.losses.semantic.semantic`.
        weight: of the loss, >= 0.
        load_module: from the name of a config to its module.

    Raises:
        UsageError: there is no reader, or the rule is broken.
    """
    if not rule:
        return lambda loss_fn: loss_fn
    if reader is None:
        raise UsageError(f"the rule {rule!r} needs a reader of attributes: pass --reader RUN")
    found = load_reader(reader, load_module)
    compiled = circuit(formula(rule, found.attributes, found.groups))
    return semantic(compiled, found.log_probs, examples_fn, weight=weight)
