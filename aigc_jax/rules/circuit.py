"""Weighted model counts: the probability of a formula, if each attribute has a value by itself, as sums of products.

Attributes are variables of as many values as they have, with a weight of each value: a digit is one variable, and not
ten bits of which one is set, so that diagrams are as small as they can be and a softmax gives the weights. A condition
is the case of two values, with log(1 - p) and log(p).

Reference:
    Darwiche and Marquis, "A Knowledge Compilation Map", 2002 (deterministic, smooth, decomposable); Chavira and
    Darwiche, "On Probabilistic Inference by Weighted Model Counting", 2008.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from aigc_jax.rules.diagram import MAX_ASSIGNMENTS, diagram
from aigc_jax.rules.formula import Formula
from aigc_jax.rules.sentential import compiled
from aigc_jax.types.rules import TRUE, Circuit, Level


def circuit(rule: Formula) -> Circuit:
    """The circuit of a formula, over the attributes that it speaks of.

    Raises:
        UsageError: no assignment obeys the formula; or there are too many to enumerate
            (:data:`aigc_jax.rules.diagram.MAX_ASSIGNMENTS`), and pysdd (the extra ``logic``) is not installed or its
            circuit grows too large.

    >>> from aigc_jax.rules.formula import formula
    >>> found = circuit(formula("a or b", {"a": ("no", "yes"), "b": ("no", "yes")}))
    >>> jnp.exp(log_wmc(found, jnp.log(jnp.array([0.5, 0.5, 0.75, 0.25])))).round(4)
    Array(0.625, dtype=float32)
    """
    sizes = tuple(map(len, rule.attributes.values()))
    if math.prod(sizes) > MAX_ASSIGNMENTS:
        return compiled(rule)
    levels, offset = list[Level](), 2 + sum(sizes)
    later, start = None, offset
    for number, nodes in reversed(list(enumerate(diagram(rule)))):
        node, value = np.nonzero(nodes >= 0)
        following = np.full(len(node), TRUE) if later is None else later + nodes[node, value]
        weight = 2 + sum(sizes[:number]) + value
        levels.append(Level(weight.astype(np.int32), following.astype(np.int32), node.astype(np.int32), len(nodes)))
        later, start = start, start + len(nodes)
    if not levels:  # true or false, of no attributes
        one = np.full(1, TRUE, np.int32)
        levels.append(Level(one, one, np.zeros(1, np.int32), 1))
    return Circuit(tuple(rule.attributes), sizes, tuple(levels))


def log_wmc(circuit: Circuit, log_weights: Float[Array, "*batch weight"]) -> Float[Array, "*batch"]:
    """The logarithm of the weighted model count: the sum over obeying assignments of the products of their weights.

    With log probabilities for weights it is that of the formula; its gradient then are the marginals, the probabilities
    of each value given the formula. Weights of -inf count for nothing, and no gradient is NaN.

    Args:
        circuit: of a formula.
        log_weights: of the values of each attribute of the circuit in turn, see :func:`weights_of`.

    Returns:
        One number for each row, -inf where the weights leave no assignment.

    >>> from aigc_jax.rules.formula import formula
    >>> found = circuit(formula("a == b", {"a": ("no", "yes"), "b": ("no", "yes")}))
    >>> weights = jnp.log(jnp.array([0.5, 0.5, 0.75, 0.25]))
    >>> jax.grad(lambda weights: log_wmc(found, weights))(weights).round(4).tolist()
    [0.75, 0.25, 0.75, 0.25]
    """
    weights = jnp.moveaxis(log_weights, -1, 0)
    if len(weights) != sum(circuit.sizes):
        raise ValueError(f"expected {sum(circuit.sizes)} weights of {circuit.attributes}, got {len(weights)}")
    zero = jnp.zeros_like(weights, shape=(1, *weights.shape[1:]))
    values = jnp.concatenate([jnp.full_like(zero, -jnp.inf), zero, weights])
    for level in circuit.levels:
        products = values[level.first] + values[level.second]
        values = jnp.concatenate([values, _log_sum(products, level)])
    return values[-1]


def weights_of(circuit: Circuit, log_probs: Mapping[str, Float[Array, "*batch _"]]) -> Float[Array, "*batch weight"]:
    """The weights of a circuit from those of each attribute's values.

    >>> from aigc_jax.rules.formula import formula
    >>> found = circuit(formula("b", {"a": ("no", "yes"), "b": ("no", "yes")}))
    >>> weights_of(found, {"a": jnp.zeros(2), "b": jnp.array([-1.0, -2.0])}).tolist()
    [-1.0, -2.0]
    """
    parts = [log_probs[name] for name in circuit.attributes]
    for name, size, part in zip(circuit.attributes, circuit.sizes, parts, strict=True):
        if part.shape[-1] != size:
            raise ValueError(f"{name} has {size} values, got weights of {part.shape[-1]}")
    if not parts:  # always true: as many rows as there are
        parts = [next(iter(log_probs.values()))[..., :0]]
    return jnp.concatenate(parts, axis=-1)


def _log_sum(products: Array, level: Level) -> Array:
    """Log sum exp of the products of each node; where all are -inf its derivative is 0, and not NaN. NaN stays NaN."""
    options = {"num_segments": level.num_nodes, "indices_are_sorted": True}
    largest = jax.lax.stop_gradient(jax.ops.segment_max(products, level.node, **options))
    largest = jnp.where(jnp.isfinite(largest), largest, jnp.zeros_like(largest))
    total = jax.ops.segment_sum(jnp.exp(products - largest[level.node]), level.node, **options)
    is_some = total != 0
    return jnp.where(is_some, jnp.log(jnp.where(is_some, total, jnp.ones_like(total))) + largest, -jnp.inf)
