"""Decision diagrams of formulas: the table of all assignments, in which equal parts are shared.

Reference:
    Bryant, "Graph-Based Algorithms for Boolean Function Manipulation", 1986 (reduction, section 4.2); of many values,
    Srinivasan et al., "Algorithms for Discrete Function Manipulation", 1990.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from aigc_jax.rules.formula import Formula, is_true
from aigc_jax.types import UsageError

MAX_ASSIGNMENTS = 2**20
"""Assignments that are enumerated: 20 conditions, or 6 digits. Beyond, :mod:`aigc_jax.rules.sentential`."""

Diagram = list[Int[np.ndarray, "node value"]]
"""For each attribute in order its nodes: for each value the node of the next attribute, -1 where no assignment obeys.

The first attribute has one node, and after the last one 0 is the end.
"""


def diagram(rule: Formula, attributes: Mapping[str, Sequence[str]] | None = None) -> Diagram:
    """The smallest ordered decision diagram in which each path visits all attributes, of the table of all assignments.

    Args:
        rule: the formula.
        attributes: ``{name: names of its values}``, those of the formula among others; None for these alone.

    Raises:
        UsageError: no assignment obeys the formula, or there are more than :data:`MAX_ASSIGNMENTS`.

    >>> from aigc_jax.rules.formula import formula
    >>> [level.tolist() for level in diagram(formula("a == b", {"a": ("1", "2"), "b": ("1", "2", "3")}))]
    [[[1, 0]], [[-1, 0, -1], [0, -1, -1]]]
    """
    attributes = rule.attributes if attributes is None else attributes
    sizes = tuple(map(len, attributes.values()))
    if math.prod(sizes) > MAX_ASSIGNMENTS:
        raise UsageError(
            f"the rule has {len(sizes)} attributes with {math.prod(sizes):.3g} assignments, more than "
            f"{MAX_ASSIGNMENTS}: split it, or name fewer attributes"
        )
    table = is_true(rule, dict(zip(attributes, np.ix_(*map(np.arange, sizes)), strict=True)))
    number, levels = np.where(table.ravel(), 0, -1), Diagram()
    for size in reversed(sizes):
        nodes, place = np.unique(number.reshape(-1, size), axis=0, return_inverse=True)
        is_live = (nodes >= 0).any(axis=1)
        number = np.where(is_live, np.cumsum(is_live) - 1, -1)[place.ravel()]
        levels.insert(0, nodes[is_live])
    if number.max() < 0:
        raise contradiction(rule)
    return levels


def contradiction(rule: Formula) -> UsageError:
    """The error of a formula that nothing obeys."""
    text = rule.text if len(rule.text) <= 60 else f"{rule.text[:60]}..."
    return UsageError(f"no values of {', '.join(rule.attributes) or 'any attribute'} obey the rule {text!r}: change it")
