"""Circuits of formulas with too many assignments to enumerate, by sentential decision diagrams (extra ``logic``).

An attribute of two values is a variable; one of more has a variable for each value, of which exactly one is true.

Reference:
    Darwiche, "SDD: A New Canonical Representation of Propositional Knowledge Bases", 2011.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from aigc_jax.rules.diagram import contradiction
from aigc_jax.rules.formula import OPERATIONS, Expression, Formula
from aigc_jax.types import UsageError
from aigc_jax.types.rules import FALSE, TRUE, Circuit, Level

MAX_VARIABLES = 256
"""Most variables of a diagram."""

MAX_ELEMENTS = 100_000
"""Most elements of a diagram, and of any on the way to it."""

MAX_SECONDS = 60
"""Time after which a formula is given up."""


def compiled(rule: Formula) -> Circuit:
    """The circuit of a formula.

    Raises:
        UsageError: pysdd is not installed, no assignment obeys the formula, or it is beyond the limits.
    """
    sizes = tuple(map(len, rule.attributes.values()))
    num = sum(1 if size == 2 else size for size in sizes)
    if num > MAX_VARIABLES:
        raise UsageError(
            f"the rule takes {num} variables, expected at most {MAX_VARIABLES}: name fewer attributes, or split it"
        )
    try:
        from pysdd.sdd import SddManager, Vtree
    except ImportError:
        raise UsageError(
            f"the rule has {num} variables, too many to enumerate: pip install 'aigc-jax[logic]', or name fewer"
        ) from None
    manager = SddManager.from_vtree(Vtree(var_count=num, vtree_type="balanced"))
    literals, weights = _literals(manager, rule, sizes)
    compiler = _Compiler(manager, literals)
    # One after the other onto what is known, which stays small; most rules are conjunctions.
    known = [
        compiler.exactly_one(literals[name]) for name, size in zip(rule.attributes, sizes, strict=True) if size != 2
    ]
    parts = map(compiler.condition, _conjuncts(rule.root))
    root = functools.reduce(compiler.both, itertools.chain(known, parts), manager.true())
    if root.is_false():
        raise contradiction(rule)
    return Circuit(tuple(rule.attributes), sizes, _Flattener(manager, weights, 2 + sum(sizes)).levels(root))


def _conjuncts(expression: Expression) -> Iterator[Expression]:
    if expression.operation != "and":
        yield expression
    else:
        yield from itertools.chain(*map(_conjuncts, expression.parts))


def _literals(manager: Any, rule: Formula, sizes: Sequence[int]) -> tuple[dict[str, list[Any]], dict[int, int]]:
    """The literal of each value of each attribute, and the index of the weight of each literal."""
    literals, weights, variable, weight = dict[str, list[Any]](), dict[int, int](), 0, 2
    for name, size in zip(rule.attributes, sizes, strict=True):
        if size == 2:
            variable += 1
            literals[name] = [manager.literal(-variable), manager.literal(variable)]
            weights |= {-variable: weight, variable: weight + 1}
        else:
            numbers = range(variable + 1, variable + size + 1)
            literals[name] = [manager.literal(number) for number in numbers]
            weights |= {number: weight + value for value, number in enumerate(numbers)}
            weights |= {-number: TRUE for number in numbers}
            variable += size
        weight += size
    return literals, weights


class _Compiler:
    """From expressions to diagrams: of a number, one for each value that it may have.

    The manager reorders variables and drops diagrams as they grow, all but those with a reference. Each diagram that is
    returned has one; who has used it releases it.
    """

    def __init__(self, manager: Any, literals: dict[str, list[Any]]) -> None:
        self.manager, self.literals, self.end = manager, literals, time.monotonic() + MAX_SECONDS
        manager.auto_gc_and_minimize_on()

    def condition(self, expression: Expression) -> Any:
        match expression.operation:
            case "and":
                return functools.reduce(self.both, map(self.condition, expression.parts))
            case "or":
                return functools.reduce(self.either, map(self.condition, expression.parts))
            case "not":
                return self._negated(self.condition(expression.parts[0]))
        # Reordering in every step of a sum would take minutes, and sums stay small in any order.
        self.manager.auto_gc_and_minimize_off()
        cases = self.cases(expression)
        self.manager.auto_gc_and_minimize_on()
        found = cases.pop(True, self.manager.false())
        _release(*cases.values())
        return found

    def cases(self, expression: Expression) -> dict[Any, Any]:
        """``{value: diagram}``, disjoint and complete where attributes have exactly one value."""
        if expression.attribute:
            return dict(zip(expression.values, self.literals[expression.attribute], strict=True))
        if not expression.operation:
            return {expression.values[0]: self.manager.true()}
        if expression.operation in ("and", "or", "not"):
            found = self.condition(expression)
            found.ref()
            return {True: found, False: self._negated(found)}
        operation = OPERATIONS[expression.operation]
        cases = map(self.cases, expression.parts)
        if len(expression.parts) == 1:
            return self._collected(operation, next(cases))
        return functools.reduce(lambda left, right: self._collected(operation, left, right), cases)

    def _collected(self, operation: Any, *parts: dict[Any, Any]) -> dict[Any, Any]:
        """The cases of an operation on one or two expressions."""
        found = dict[Any, Any]()
        for pairs in itertools.product(*(part.items() for part in parts)):
            value = np.asarray(operation(*(value for value, _ in pairs))).item()
            for _, case in pairs:
                case.ref()
            case = functools.reduce(self.both, [case for _, case in pairs])
            found[value] = self.either(found[value], case) if value in found else case
        _release(*itertools.chain(*(part.values() for part in parts)))
        return {value: case for value, case in found.items() if not case.is_false()}

    def exactly_one(self, literals: list[Any]) -> Any:
        """One of the literals: none so far and then it, or one so far and not it."""
        none, one = self.manager.true(), self.manager.false()
        for literal in literals:
            none.ref()
            one = self.either(self.both(one, ~literal), self.both(none, literal))
            none = self.both(none, ~literal)
        _release(none)
        return one

    def both(self, left: Any, right: Any) -> Any:
        return self._made(left & right, left, right)

    def either(self, left: Any, right: Any) -> Any:
        return self._made(left | right, left, right)

    def _negated(self, operand: Any) -> Any:
        return self._made(~operand, operand)

    def _made(self, found: Any, *operands: Any) -> Any:
        found.ref()
        _release(*operands)
        if found.size() > MAX_ELEMENTS or time.monotonic() > self.end:
            raise UsageError(
                f"the rule takes a circuit of more than {MAX_ELEMENTS} elements, or more than {MAX_SECONDS} s: split it"
            )
        return found


def _release(*diagrams: Any) -> None:
    for each in diagrams:
        each.deref()


class _Sum(NamedTuple):
    level: int
    products: tuple[tuple[int, int], ...]


class _Flattener:
    """From a diagram to levels of sums, each over all variables of its place in the tree of variables."""

    def __init__(self, manager: Any, weights: dict[int, int], num_inputs: int) -> None:
        self.manager, self.weights, self.num_inputs = manager, weights, num_inputs
        self.sums = list[_Sum]()
        self.known = dict[tuple[int, int], int]()

    def levels(self, root: Any) -> tuple[Level, ...]:
        """All sums by level; that of the root comes last, since all others are below it."""
        self._index(root, self.manager.vtree())
        order = sorted(range(len(self.sums)), key=lambda number: self.sums[number].level)
        lookup = np.arange(self.num_inputs + len(self.sums))
        lookup[self.num_inputs + np.array(order)] = self.num_inputs + np.arange(len(order))
        found = list[Level]()
        for _, numbers in itertools.groupby(order, key=lambda number: self.sums[number].level):
            rows = [(*pair, node) for node, number in enumerate(numbers) for pair in self.sums[number].products]
            first, second, node = np.array(rows).T
            first, second, node = (each.astype(np.int32) for each in (lookup[first], lookup[second], node))
            found.append(Level(first, second, node, int(node[-1]) + 1))
        return tuple(found)

    def _index(self, node: Any, place: Any) -> int:
        """The index of the value of a diagram, over all variables of a place."""
        if node.is_false():
            return FALSE
        key = (node.id, place.position())
        if key not in self.known:
            self.known[key] = self._make(node, place)
        return self.known[key]

    def _make(self, node: Any, place: Any) -> int:
        if node.is_true():
            if place.is_leaf():
                return self._sum([(self.weights[sign * place.var()], TRUE) for sign in (-1, 1)])
            return self._product(node, node, place)
        own = node.vtree().position()
        if own == place.position():
            if node.is_literal():
                return self.weights[node.literal]
            sides = place.left(), place.right()
            pairs = [(self._index(prime, sides[0]), self._index(sub, sides[1])) for prime, sub in node.elements()]
            return self._sum([pair for pair in pairs if FALSE not in pair])
        everything = self.manager.true()
        return self._product(*((node, everything) if own < place.position() else (everything, node)), place)

    def _product(self, left: Any, right: Any, place: Any) -> int:
        return self._sum([(self._index(left, place.left()), self._index(right, place.right()))])

    def _sum(self, products: list[tuple[int, int]]) -> int:
        below = max(itertools.chain(*products))
        level = (
            0
            if below < self.num_inputs
            else 1
            + max(
                self.sums[index - self.num_inputs].level
                for index in itertools.chain(*products)
                if index >= self.num_inputs
            )
        )
        self.sums.append(_Sum(level, tuple(products)))
        return self.num_inputs + len(self.sums) - 1
