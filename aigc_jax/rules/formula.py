"""Formulas over named attributes, written as text: ``not (triangle and pentagon)``, ``sum(top) == sum(bottom)``.

From the weakest to the strongest binding:

    ``->`` or ``implies``, ``<->`` or ``iff``
    ``or``
    ``and``
    ``not``
    ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``
    ``+``, ``-``
    ``*``

Functions are ``sum(...)``, ``count(...)`` of conditions that hold, ``exactly(k, ...)``, ``at_least(k, ...)``,
``at_most(k, ...)`` and ``all_different(...)``; a group of attributes stands for all of them. A value alone, as ``red``,
is short for ``colour == red`` where one attribute has it; names with spaces are quoted.
"""

from __future__ import annotations

import difflib
import functools
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Bool

from aigc_jax.types import UsageError

Kind = Literal["condition", "number", "name"]

TRUTH_VALUES = (("absent", "present"), ("no", "yes"), ("false", "true"))
"""Names of the values of attributes that are conditions by themselves."""

MAX_LENGTH = 20_000
"""Characters of a formula."""

MAX_DEPTH = 20
"""Brackets, negations and implications within each other."""

MAX_NUMBER = 2**31
"""Numbers of a formula stay below it, whatever the attributes are."""

OPERATIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *parts: functools.reduce(np.logical_and, parts),
    "or": lambda *parts: functools.reduce(np.logical_or, parts),
    "not": np.logical_not,
    "as number": lambda condition: np.asarray(condition, np.int64),
    "+": lambda *parts: functools.reduce(operator.add, parts),
    "-": operator.sub,
    "*": operator.mul,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""What expressions compute, of arrays and of single values."""

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_COUNTING = {"exactly": "==", "at_least": ">=", "at_most": "<="}
_FUNCTIONS = ("sum", "count", "all_different", *_COUNTING)
_WORDS = ("and", "or", "not", "in", "implies", "iff", "true", "false")
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+)|(?P<name>[^\W\d]\w*)|(?P<text>'[^']*'|"[^"]*")
    |(?P<sign><->|->|==|!=|<=|>=|[-<>+*(),])|(?P<end>$))""",
    re.VERBOSE,
)


class Expression(NamedTuple):
    """A part of a formula: an operation on others, an attribute, or a constant."""

    kind: Kind
    column: int
    operation: str = ""
    parts: tuple[Expression, ...] = ()
    attribute: str = ""
    values: tuple[Any, ...] = ()
    """Of an attribute, in the order of its own; the one of a constant."""

    @property
    def is_constant(self) -> bool:
        """Whether it is a constant."""
        return not self.operation and not self.attribute


class Formula(NamedTuple):
    """A condition on attributes.

    Attributes:
        text: as it was written.
        root: the condition.
        attributes: ``{name: names of its values}`` of those that it speaks of, in their order.
    """

    text: str
    root: Expression
    attributes: Mapping[str, Sequence[str]]


def formula(
    text: str, attributes: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]] | None = None
) -> Formula:
    """Read a formula.

    Args:
        text: see the head of this module.
        attributes: ``{name: names of its values}``, as of a world. Values absent and present (no, yes; false, true)
            make a condition, whole numbers a number, other ones a name.
        groups: ``{name: attributes}``.

    Raises:
        UsageError: the text is no formula, names an unknown attribute, or compares unlike things; the column is named.

    >>> rule = formula("triangle -> not square", {"triangle": ("absent", "present"), "square": ("absent", "present")})
    >>> is_true(rule, {"triangle": np.array([1, 1]), "square": np.array([0, 1])}).tolist()
    [True, False]
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(f"the rule has {len(text)} characters, expected at most {MAX_LENGTH}: shorten it")
    owners = [name for name, values in attributes.items() if text.strip() in values]
    if len(owners) == 1 and text.strip() not in attributes:  # quoted or not
        root = _is_value(owners[0], attributes[owners[0]], text.strip(), 1)
    else:
        root = _Parser(text, attributes, groups or {}).parse()
    spoken_of = set(_attributes(root))
    return Formula(text, root, {name: tuple(values) for name, values in attributes.items() if name in spoken_of})


def is_true(rule: Formula, assignment: Mapping[str, Any]) -> Bool[np.ndarray, "..."]:
    """Whether each assignment obeys a formula; one without a value of an attribute of it does not.

    Args:
        rule: the formula.
        assignment: ``{attribute: index of its value}``, integers of shapes that broadcast, of attributes of the formula
            and others; -1 for none, as a world reads what is malformed.

    Returns:
        One truth value for each, of the shape that all broadcast to.

    >>> rule = formula("number > 3", {"number": ("2", "4", "6")})
    >>> is_true(rule, {"number": np.array([0, 1, 2, -1])}).tolist()
    [False, True, True, False]
    """
    indices = {name: np.asarray(assignment[name]) for name in rule.attributes}
    is_read = functools.reduce(np.logical_and, [values >= 0 for values in indices.values()], np.bool_(True))
    shape = np.broadcast_shapes(*(np.shape(values) for values in assignment.values()))
    return np.broadcast_to(_evaluate(rule.root, indices) & is_read, shape)


def _evaluate(expression: Expression, indices: Mapping[str, np.ndarray]) -> Any:
    if expression.operation:
        return OPERATIONS[expression.operation](*(_evaluate(part, indices) for part in expression.parts))
    values = np.array(expression.values)
    return values[indices[expression.attribute]] if expression.attribute else values[0]


def _attributes(expression: Expression) -> Iterator[str]:
    if expression.attribute:
        yield expression.attribute
    for part in expression.parts:
        yield from _attributes(part)


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


class _Parser:
    """Recursive descent: a method for each level of binding."""

    def __init__(self, text: str, attributes: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]) -> None:
        self.attributes, self.groups, self.depth, self.at = attributes, groups, 0, 0
        self.tokens = list(_tokens(text))

    def parse(self) -> Expression:
        root = self._condition(self._formula())
        if self.token.kind != "end":
            self._expected("and, or, -> or the end")
        return root

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def _take(self, *texts: str) -> _Token | None:
        """The next token, if it is one of these words or signs."""
        token = self.token
        if token.kind in ("name", "sign") and token.text in texts:
            self.at += 1
            return token
        return None

    def _need(self, text: str, opened: _Token | None = None) -> None:
        if not self._take(text):
            self._expected(f"{text!r}" + (f" for the bracket of column {opened.column}" if opened else ""))

    def _expected(self, what: str) -> NoReturn:
        found = "the end" if self.token.kind == "end" else repr(self.token.text)
        _fail(self.token.column, f"expected {what}, got {found}")

    def _deeper(self, column: int) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            _fail(column, f"more than {MAX_DEPTH} brackets, negations or implications within each other")

    def _formula(self) -> Expression:
        left = self._disjunction()
        sign = self._take("->", "implies", "<->", "iff")
        if sign is None:
            return left
        self._deeper(sign.column)
        left, right = self._condition(left), self._condition(self._formula())
        self.depth -= 1
        if sign.text in ("<->", "iff"):
            return Expression("condition", sign.column, "==", (left, right))
        negated = Expression("condition", left.column, "not", (left,))
        return Expression("condition", sign.column, "or", (negated, right))

    def _disjunction(self) -> Expression:
        return self._joined("or", self._conjunction)

    def _conjunction(self) -> Expression:
        return self._joined("and", self._negation)

    def _joined(self, word: str, parse_part: Callable[[], Expression]) -> Expression:
        first = parse_part()
        parts = [first]
        while self._take(word):
            parts.append(parse_part())
        if len(parts) == 1:
            return first
        return Expression("condition", first.column, word, tuple(map(self._condition, parts)))

    def _negation(self) -> Expression:
        sign = self._take("not")
        if sign is None:
            return self._comparison()
        self._deeper(sign.column)
        negated = self._condition(self._negation())
        self.depth -= 1
        return Expression("condition", sign.column, "not", (negated,))

    def _comparison(self) -> Expression:
        left = self._sum()
        links = list[Expression]()
        while True:
            negated = self.token.text == "not" and self.tokens[self.at + 1].text == "in" and self._take("not")
            sign = self._take(*_COMPARISONS, "in")
            if sign is None:
                break
            if sign.text == "in":
                found = self._among(left, sign)
                links.append(Expression("condition", sign.column, "not", (found,)) if negated else found)
            else:
                right = self._sum()
                links.append(self._compared(sign, left, right))
                left = right
        if not links:
            return left
        return links[0] if len(links) == 1 else Expression("condition", links[0].column, "and", tuple(links))

    def _among(self, left: Expression, sign: _Token) -> Expression:
        """``left in (a, b)``, or a single value without brackets."""
        opened = self._take("(")
        values = [self._sum()]
        while opened and self._take(","):
            values.append(self._sum())
        if opened:
            self._need(")", opened)
        equal = sign._replace(text="==")
        return Expression("condition", sign.column, "or", tuple(self._compared(equal, left, each) for each in values))

    def _compared(self, sign: _Token, left: Expression, right: Expression) -> Expression:
        left, right = self._beside(left, right), self._beside(right, left)
        for each in (left, right):
            if each.is_constant and each.kind == "name" and not (left.attribute or right.attribute):
                self._unknown(each)
        if left.kind != right.kind:
            _fail(
                sign.column, f"{_shown(left)} is a {left.kind}, {_shown(right)} a {right.kind}: compare like with like"
            )
        if left.kind != "number" and sign.text not in ("==", "!="):
            _fail(sign.column, f"expected == or != between {left.kind}s, got {sign.text!r}")
        return Expression("condition", sign.column, sign.text, (left, right))

    def _beside(self, one: Expression, other: Expression) -> Expression:
        """A side of a comparison by what the other one is: a name may be a value of the other's attribute."""
        names = tuple(self.attributes.get(other.attribute, ()))
        if one.is_constant and one.kind == "name" and names:
            if one.values[0] not in names:
                known = ", ".join(map(str, names[:20]))
                _fail(one.column, f"{other.attribute} has no value {one.values[0]!r}: it is one of {known}")
            return one._replace(values=one.values)
        if one.attribute and other.kind == "name" and other.attribute and one.attribute in names:
            return Expression("name", one.column, values=(one.attribute,))
        if one.attribute and other.is_constant and other.kind == "name":
            return one._replace(kind="name", values=tuple(map(str, self.attributes[one.attribute])))
        return one

    def _sum(self) -> Expression:
        left = self._product()
        while sign := self._take("+", "-"):
            right = self._number(self._product())
            left = self._bounded(Expression("number", sign.column, sign.text, (self._number(left), right)))
        return left

    def _product(self) -> Expression:
        left = self._factor()
        while sign := self._take("*"):
            right = self._number(self._factor())
            left = self._bounded(Expression("number", sign.column, "*", (self._number(left), right)))
        return left

    def _factor(self) -> Expression:
        token = self.token
        if sign := self._take("-"):
            self._deeper(sign.column)
            negated = self._number(self._factor())
            self.depth -= 1
            zero = Expression("number", sign.column, values=(0,))
            return Expression("number", sign.column, "-", (zero, negated))
        if opened := self._take("("):
            self._deeper(opened.column)
            inner = self._formula()
            self.depth -= 1
            self._need(")", opened)
            return inner
        is_word = token.kind == "name" and token.text in _WORDS and token.text not in ("true", "false")
        if token.kind in ("sign", "end") or is_word:
            self._expected("an attribute, a number or a bracket")
        self.at += 1
        if token.kind == "number":
            return self._bounded(Expression("number", token.column, values=(int(token.text[:20]),)))
        if token.kind == "text":
            return self._named(token._replace(text=token.text[1:-1]))
        if token.text in ("true", "false"):
            return Expression("condition", token.column, values=(token.text == "true",))
        if token.text in ("at", "all") and self.token.text in ("least", "most", "different"):
            token = token._replace(text=f"{token.text}_{self.token.text}")
            self.at += 1
        if token.text in _FUNCTIONS and self.token.text == "(":
            return self._function(token)
        return self._named(token)

    def _named(self, token: _Token) -> Expression:
        """An attribute; another name is perhaps a value."""
        if token.text in self.attributes:
            return self._attribute(token.text, token.column)
        if token.text in self.groups:
            names = ", ".join(self.groups[token.text])
            _fail(token.column, f"{token.text} stands for {names}: write sum({token.text}) or another function of it")
        return Expression("name", token.column, values=(token.text,))

    def _attribute(self, name: str, column: int) -> Expression:
        values = tuple(map(str, self.attributes[name]))
        if tuple(value.lower() for value in values) in TRUTH_VALUES:
            return Expression("condition", column, attribute=name, values=(False, True))
        if all(re.fullmatch("-?[0-9]{1,9}", value) for value in values):
            return Expression("number", column, attribute=name, values=tuple(map(int, values)))
        return Expression("name", column, attribute=name, values=values)

    def _function(self, name: _Token) -> Expression:
        opened = self.token
        self.at += 1
        least = None
        if name.text in _COUNTING:
            least = self._number(self._sum())
            self._need(",")
        parts = self._arguments()
        while self._take(","):
            parts += self._arguments()
        self._need(")", opened)
        if name.text == "all_different":
            equal = _Token("sign", "!=", name.column)
            pairs = [self._compared(equal, a, b) for at, a in enumerate(parts) for b in parts[:at]]
            return Expression("condition", name.column, "and", tuple(pairs)) if pairs else _constant(name.column)
        if name.text != "sum":
            parts = [Expression("number", each.column, "as number", (self._condition(each),)) for each in parts]
        total = self._bounded(Expression("number", name.column, "+", tuple(map(self._number, parts))))
        if least is None:
            return total
        return Expression("condition", name.column, _COUNTING[name.text], (total, least))

    def _arguments(self) -> list[Expression]:
        """An argument of a function, or all attributes of a group."""
        token, after = self.token, self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if token.kind == "name" and token.text in self.groups and after.text in (",", ")"):
            self.at += 1
            return [self._attribute(name, token.column) for name in self.groups[token.text]]
        return [self._formula()]

    def _condition(self, expression: Expression) -> Expression:
        """An expression where a condition is needed: a value alone says that its attribute has it."""
        if expression.kind == "condition":
            return expression
        if not expression.is_constant:
            example = f"{_shown(expression)} == {expression.values[0] if expression.values else 0}"
            _fail(
                expression.column,
                f"expected a condition, got the {expression.kind} {_shown(expression)}: compare it, as in {example}",
            )
        value = str(expression.values[0])
        owners = [name for name, values in self.attributes.items() if value in map(str, values)]
        if len(owners) > 1:
            _fail(expression.column, f"{value} is a value of {', '.join(owners[:20])}: write {owners[0]} == {value}")
        if not owners:
            self._unknown(expression)
        return _is_value(owners[0], self.attributes[owners[0]], value, expression.column)

    def _number(self, expression: Expression) -> Expression:
        if expression.kind == "number":
            return expression
        if expression.is_constant and expression.kind == "name":
            self._unknown(expression)
        _fail(expression.column, f"expected a number, got the {expression.kind} {_shown(expression)}")

    def _bounded(self, expression: Expression) -> Expression:
        if _largest(expression) >= MAX_NUMBER:
            _fail(expression.column, f"numbers of a rule stay below {MAX_NUMBER}")
        return expression

    def _unknown(self, expression: Expression) -> NoReturn:
        name = str(expression.values[0])
        known = [*self.attributes, *self.groups]
        values = [str(value) for of_name in self.attributes.values() for value in of_name]
        close = difflib.get_close_matches(name, [*known, *values[:1000]], 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        shown = ", ".join(known[:40]) + (" ..." if len(known) > 40 else "")
        _fail(expression.column, f"no attribute {name!r}{hint}, expected one of {shown}")


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None:
            place = len(text[:at]) + len(text[at:]) - len(text[at:].lstrip())
            hint = ": equal is ==" if text[place] == "=" else ": no end of the quote" if text[place] in "'\"" else ""
            _fail(place + 1, f"expected an attribute, a number or a sign, got {text[place]!r}{hint}")
        kind = found.lastgroup or "end"
        yield _Token(kind, found[kind], found.start(kind) + 1)
        if kind == "end":
            return
        at = found.end()


def _fail(column: int, message: str) -> NoReturn:
    raise UsageError(f"the rule is broken at column {column}: {message}")


def _is_value(attribute: str, names: Sequence[str], value: str, column: int) -> Expression:
    """The condition that an attribute has a value."""
    has = Expression("name", column, attribute=attribute, values=tuple(names))
    return Expression("condition", column, "==", (has, Expression("name", column, values=(value,))))


def _constant(column: int) -> Expression:
    return Expression("condition", column, values=(True,))


def _shown(expression: Expression) -> str:
    """A part of a formula in an error."""
    if expression.attribute:
        return expression.attribute
    return repr(expression.values[0]) if expression.values else "sum" if expression.operation == "+" else "expression"


def _largest(expression: Expression) -> int:
    """A bound of the size of a number, below twice :data:`MAX_NUMBER` squared since its parts are bounded."""
    if expression.operation == "*":
        return _largest(expression.parts[0]) * _largest(expression.parts[1])
    if expression.operation in ("+", "-"):
        return sum(map(_largest, expression.parts))
    return max((abs(int(value)) for value in expression.values), default=1)
