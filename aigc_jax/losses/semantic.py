"""The semantic loss: how improbable a rule is, under a network's probabilities of the attributes of examples.

Reference:
    Xu et al., "A Semantic Loss Function for Deep Learning with Symbolic Knowledge", 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from aigc_jax.rules.circuit import log_wmc, weights_of
from aigc_jax.types import Batch, Key, LossFn, LossTransform, Metrics, PyTree, UsageError, Weighted
from aigc_jax.types.rules import Circuit

ReadFn = Callable[[Array], Mapping[str, Array]]
"""``examples [B, ...] -> {attribute: log probability of each of its values [B, values]}``: a trained reader."""

ExamplesFn = Callable[[PyTree, PyTree, Batch, Key], tuple[Array, Array]]
"""``(params, model_state, batch, key) -> (examples [B, ...], how much each counts [B])``: what a model makes."""

IMPOSSIBLE = 1000.0
"""The loss in nats, without a gradient, of a rule that a reader's probabilities of 0 leave no assignment."""


def semantic_loss(circuit: Circuit, log_probs: Mapping[str, Float[Array, "batch _"]]) -> Float[Array, " batch"]:
    """-log of the probability of a rule, if attributes are independent given an example, in nats.

    It is 0 if and only if the rule is certain, and equal for formulas that mean the same.

    Args:
        circuit: of the rule, see :func:`aigc_jax.rules.circuit.circuit`.
        log_probs: of the values of each attribute, log-softmax of a network's outputs.

    Returns:
        One value per example, >= 0; :data:`IMPOSSIBLE` where probabilities of 0 exclude the rule.

    Reference:
        Xu et al. 2018, definition 1 and equation 1, of attributes with any number of values.

    >>> from aigc_jax.rules.circuit import circuit
    >>> from aigc_jax.rules.formula import formula
    >>> rule = circuit(formula("a == b", {"a": ("no", "yes"), "b": ("no", "yes")}))
    >>> semantic_loss(rule, dict.fromkeys("ab", jnp.log(jnp.array([[0.5, 0.5]])))).round(3)  # log 2
    Array([0.693], dtype=float32)
    """
    found = log_wmc(circuit, weights_of(circuit, log_probs))
    # Not clipped: what is nearly impossible has the gradient that leads out of it.
    return jnp.where(jnp.isneginf(found), IMPOSSIBLE, jnp.maximum(-found, 0.0))


def semantic(circuit: Circuit, read_fn: ReadFn, examples_fn: ExamplesFn, *, weight: float) -> LossTransform:
    """Transform of a loss: add ``weight`` times the semantic loss of what the model makes; the metric ``semantic``.

    Args:
        circuit: of the rule.
        read_fn: a trained reader of attributes, which is not trained further.
        examples_fn: what the model makes under the same key as in its loss, so that it is computed once.
        weight: >= 0.

    >>> from aigc_jax.rules.circuit import circuit
    >>> from aigc_jax.rules.formula import formula
    >>> rule, even = circuit(formula("a", {"a": ("no", "yes")})), jnp.log(jnp.array([[0.5, 0.5]]))
    >>> transform = semantic(rule, lambda x: {"a": even}, lambda *given: (jnp.ones(1), jnp.ones(1)), weight=2.0)
    >>> transform(lambda *given: (jnp.zeros(1), ({}, {})))({}, {}, {}, None)[0].round(3)  # 2 log 2
    Array([1.386], dtype=float32)
    """
    if not weight >= 0:
        raise UsageError(f"expected a weight of the rule >= 0, got {weight}: 0.1 is usual")

    def transform(loss_fn: LossFn) -> LossFn:
        def with_rule(
            params: PyTree, model_state: PyTree, batch: Batch, key: Key
        ) -> tuple[Array | Weighted, tuple[PyTree, Metrics]]:
            found, (new_state, metrics) = loss_fn(params, model_state, batch, key)
            examples, counts = examples_fn(params, model_state, batch, key)
            values = semantic_loss(circuit, read_fn(examples))
            added = weight * counts * values
            losses = found._replace(loss=found.loss + added) if isinstance(found, Weighted) else found + added
            return losses, (new_state, {**metrics, "semantic": values})

        return with_rule

    return transform
