"""Horn rules as text: a line each, ``ancestor(x, z) <- parent(x, y), ancestor(y, z)``.

The triple before the arrow holds wherever all after it do. Relations are of two arguments. A bare argument is a
variable, one in double quotes a name of the graph; a relation may be quoted too; ``x != y`` asks for two different
ones; ``#`` begins a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from aigc_jax.types import UsageError

FORM = 'write a rule as ancestor(x, z) <- parent(x, y), ancestor(y, z), with names of the graph in "quotes"'


class Term(NamedTuple):
    """An argument of an atom: a variable, or a name of the graph."""

    name: str
    is_name: bool = False

    def __str__(self) -> str:
        return json.dumps(self.name, ensure_ascii=False) if self.is_name else self.name


class Atom(NamedTuple):
    """A relation of two terms, part of a rule."""

    relation: str
    subject: Term
    object: Term


class Rule(NamedTuple):
    """A Horn rule: where all atoms of the body hold, the head does. From :func:`parse_rules`."""

    head: Atom
    body: tuple[Atom, ...]
    different: tuple[tuple[Term, Term], ...] = ()
    """Pairs of terms that must be different."""
    order: tuple[Term, ...] = ()
    """The terms of the body alone, in the order in which products of matrices eliminate them."""
    text: str = ""


def parse_rules(text: str) -> list[Rule]:
    """The rules of a text, one a line; empty lines and comments are left out.

    Args:
        text: see above. In a body any number of atoms may stand; variables that only the body has are eliminated by
            matrix products, so a rule in which each of them meets three or more others at once has to be split.

    Raises:
        UsageError: with line and column, a line is no rule, a variable of its head or of ``!=`` is in no atom of its
            body, or its body has to be split.

    Reference:
        Abiteboul, Hull, Vianu, "Foundations of Databases", 1995, chapter 12 (datalog; safe rules).

    >>> rule, = parse_rules("sibling(x, y) <- parent(z, x), parent(z, y), x != y")
    >>> rule.head.relation, len(rule.body), rule.order
    ('sibling', 2, (Term(name='z', is_name=False),))
    """
    lines = [_Parser(line, number) for number, line in enumerate(text.splitlines(), start=1)]
    return [line.rule() for line in lines if line.tokens]


def terms_of(atoms: Iterable[Atom]) -> list[Term]:
    """The arguments of atoms, in order."""
    return [term for atom in atoms for term in (atom.subject, atom.object)]


_TOKENS = re.compile(r'(\s*)("(?:[^"\\]|\\.)*"|[^\W\d][\w-]*|<-|!=|[(),.]|#.*|\S)?')


class _Parser:
    """One line of rules: recursive descent over its tokens, each with its column."""

    def __init__(self, line: str, number: int) -> None:
        self.line, self.number, self.at = line, number, 0
        self.tokens: list[tuple[str, int]] = []
        place = 0
        while place < len(line):
            match = _TOKENS.match(line, place)
            if match is None or not match.group(2) or match.group(2).startswith("#"):
                break
            self.tokens.append((match.group(2), match.start(2)))
            place = match.end()
        self.end = place

    def rule(self) -> Rule:
        head = self._atom()
        self._take("<-")
        body, different = list[Atom](), list[tuple[Term, Term]]()
        while True:
            start = self.at
            if self._peek(1) == "!=":
                left, _, right = self._term(), self._take("!="), self._term()
                if left == right or (left.is_name and right.is_name):
                    raise self._error(f"{left} != {right} holds always or never", start)
                different.append((left, right))
            else:
                body.append(self._atom())
            if self._peek() in ("", "."):
                break
            self._take(",")
        if self._peek() == ".":
            self._take(".")
        if self._peek():
            raise self._error(f"expected the end of the line, got {self._peek()!r}", self.at)
        return self._safe(Rule(head, tuple(body), tuple(different), (), self.line.partition("#")[0].strip()))

    def _safe(self, rule: Rule) -> Rule:
        """The rule with the order of elimination; every variable must be in an atom of the body."""
        terms = set(terms_of(rule.body))
        others = [rule.head.subject, rule.head.object, *(term for pair in rule.different for term in pair)]
        for term in others:
            if not term.is_name and term not in terms:
                raise self._error(f"the variable {term} is in no atom after the arrow", self._place(term))
        ends = {rule.head.subject, rule.head.object}
        edges = {frozenset((atom.subject, atom.object)) for atom in rule.body if atom.subject != atom.object}
        waiting = [frozenset(pair) for pair in rule.different if not any(term.is_name for term in pair)]
        order, left = list[Term](), sorted(terms - ends)
        while left:
            near = {term: {other for pair in edges if term in pair for other in pair - {term}} for term in left}
            ready = [
                term for term in left if len(near[term]) <= 2 and all(pair in edges for pair in waiting if term in pair)
            ]
            if not ready and all(len(near[term]) <= 2 for term in left):
                first, second = sorted(next(iter(waiting)))
                raise self._error(f"{first} != {second} needs an atom of both: add one, or split the rule into two", 0)
            if not ready:
                raise self._error(f"{left[0]} meets too many other variables at once: split the rule into two", 0)
            order.append(ready[0])
            left.remove(ready[0])
            edges = {pair for pair in edges if ready[0] not in pair}
            waiting = [pair for pair in waiting if ready[0] not in pair]
            if len(near[ready[0]]) == 2:
                edges.add(frozenset(near[ready[0]]))
        return rule._replace(order=tuple(order))

    def _atom(self) -> Atom:
        relation, _ = self._name("a relation")
        self._take("(")
        subject = self._term()
        self._take(",")
        object_ = self._term()
        self._take(")")
        return Atom(relation, subject, object_)

    def _term(self) -> Term:
        name, is_quoted = self._name("a variable, or a name in quotes")
        return Term(name, is_quoted)

    def _name(self, expected: str) -> tuple[str, bool]:
        token = self._peek()
        if not token or not (token[0] == '"' or token[0].isalpha() or token[0] == "_"):
            raise self._error(f"expected {expected}, got {_shown(token)}", self.at)
        if token[0] != '"':
            self.at += 1
            return token, False
        try:
            name = json.loads(token)
        except ValueError:
            raise self._error(f"expected a name in quotes, got {_shown(token)}", self.at) from None
        self.at += 1
        return name, True

    def _take(self, expected: str) -> None:
        if self._peek() != expected:
            raise self._error(f"expected {expected!r}, got {_shown(self._peek())}", self.at)
        self.at += 1

    def _peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def _place(self, term: Term) -> int:
        return next(at for at, (token, _) in enumerate(self.tokens) if token == term.name)

    def _error(self, problem: str, at: int) -> UsageError:
        column = self.tokens[at][1] if at < len(self.tokens) else self.end
        return UsageError(f"line {self.number}, column {column + 1}: {problem}: {FORM}")


def _shown(token: str) -> str:
    return repr(token) if token else "the end of the line"
