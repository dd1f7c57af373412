"""Facts and what follows from them by Horn rules: the closure of a set of triples, and derivations.

:mod:`aigc_jax.rules.clauses` reads rules.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import coo_array, csr_array

from aigc_jax.rules.clauses import Atom, Rule, Term, terms_of
from aigc_jax.types import UsageError

MAX_TRIPLES = 10_000_000
"""More triples of one relation are a mistake, and would fill the memory."""


class Triple(NamedTuple):
    """A fact by its names."""

    subject: str
    relation: str
    object: str


class Step(NamedTuple):
    """A step of a derivation: a triple, the rule that it follows by, and what it follows from."""

    triple: Triple
    rule: Rule | None
    """None for a triple that is stated."""
    premises: tuple[Triple, ...] = ()


def closure(triples: Iterable[Triple | tuple[str, str, str]], rules: Sequence[Rule] = ()) -> Closure:
    r"""The least set of triples that holds the given ones and obeys all rules.

    Each round applies all rules to what is known, as products of sparse Boolean matrices, until nothing new follows.

    Args:
        triples: (subject, relation, object) by name.
        rules: from :func:`parse_rules`.

    Returns:
        The closure, which tells stated triples from derived ones.

    Raises:
        UsageError: a relation gets more than :data:`MAX_TRIPLES` triples.

    >>> from aigc_jax.rules.clauses import parse_rules
    >>> rules = parse_rules("ancestor(x, y) <- parent(x, y)\nancestor(x, z) <- parent(x, y), ancestor(y, z)")
    >>> known = closure([("Ann", "parent", "Bob"), ("Bob", "parent", "Cleo")], rules)
    >>> ("Ann", "ancestor", "Cleo") in known, known.num_stated, known.num_derived
    (True, 2, 3)
    >>> [step.triple.relation for step in known.derivation(Triple("Ann", "ancestor", "Cleo"))]
    ['parent', 'parent', 'ancestor', 'ancestor']
    """
    given = [Triple(each[0], each[1], each[2]) for each in triples]
    terms = [term for rule in rules for term in (*terms_of((rule.head, *rule.body)), *itertools.chain(*rule.different))]
    constants = [term.name for term in terms if term.is_name]
    names = list(dict.fromkeys([*(name for each in given for name in (each.subject, each.object)), *constants]))
    ids = {name: number for number, name in enumerate(names)}
    size = len(names)
    pairs: dict[str, list[tuple[int, int]]] = {rule.head.relation: [] for rule in rules}
    for each in given:
        pairs.setdefault(each.relation, []).append((ids[each.subject], ids[each.object]))
    rounds = {
        relation: _matrix(np.array(sorted(set(of)), np.int64).reshape(-1, 2), size) for relation, of in pairs.items()
    }
    for number in itertools.count(2):
        known = {relation: csr_array(matrix, dtype=bool) for relation, matrix in rounds.items()}
        new: dict[str, csr_array] = {}
        for rule in rules:
            relation = rule.head.relation
            found = _Body(rule, known, ids).consequences()
            new[relation] = new[relation] + found if relation in new else found
        new = {relation: matrix > known[relation] for relation, matrix in new.items()}
        if not any(matrix.nnz for matrix in new.values()):
            break
        for relation, matrix in new.items():
            rounds[relation] = _checked(csr_array(rounds[relation] + matrix.astype(np.int32) * number), relation)
    return Closure(names, rounds, tuple(rules))


@dataclasses.dataclass(frozen=True, eq=False)
class Closure:
    """Triples that are stated, and those that follow from them; see :func:`closure`.

    Attributes:
        names: of subjects and objects, by number.
        rounds: ``{relation: sparse int32 [N, N]}``: 1 for a stated triple, k for one that follows in round k - 1 from
            triples of earlier rounds, nothing for what is not known.
        rules: the rules.
    """

    names: Sequence[str]
    rounds: Mapping[str, csr_array]
    rules: tuple[Rule, ...] = ()

    @functools.cached_property
    def ids(self) -> Mapping[str, int]:
        """``{name: number}``."""
        return {name: number for number, name in enumerate(self.names)}

    @property
    def relations(self) -> list[str]:
        """The relations, stated and derived."""
        return list(self.rounds)

    @property
    def num_stated(self) -> int:
        """Number of stated triples."""
        return sum(int((matrix.data == 1).sum()) for matrix in self.rounds.values())

    @property
    def num_derived(self) -> int:
        """Number of triples that are not stated, and follow."""
        return sum(int((matrix.data > 1).sum()) for matrix in self.rounds.values())

    def __contains__(self, triple: Triple | tuple[str, str, str]) -> bool:
        return self.round_of(triple) > 0

    def __iter__(self) -> Iterator[Triple]:
        return self.triples()

    def __len__(self) -> int:
        return self.num_stated + self.num_derived

    def round_of(self, triple: Triple | tuple[str, str, str]) -> int:
        """1 for a stated triple, k > 1 for one that follows in round k - 1, 0 for one that does not follow."""
        subject, relation, object_ = triple
        if relation not in self.rounds or subject not in self.ids or object_ not in self.ids:
            return 0
        return int(self.rounds[relation][self.ids[subject], self.ids[object_]])

    def is_derived(self, triple: Triple | tuple[str, str, str]) -> bool:
        """Whether a triple follows by rules alone."""
        return self.round_of(triple) > 1

    def triples(self, *, is_derived: bool | None = None) -> Iterator[Triple]:
        """All triples, relation by relation; only those that are stated, or derived, where that is given."""
        for relation, (subject, object_), rounds in self.arrays():
            chosen = np.ones(len(rounds), bool) if is_derived is None else (rounds > 1) == is_derived
            for s, o in zip(subject[chosen], object_[chosen], strict=True):
                yield Triple(self.names[int(s)], relation, self.names[int(o)])

    def arrays(
        self,
    ) -> Iterator[tuple[str, tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]], Int[np.ndarray, " n"]]]:
        """Each relation with the numbers of its (subjects, objects), in order, and the round of each pair."""
        for relation, matrix in self.rounds.items():
            entries = matrix.tocoo()
            subject, object_ = entries.coords
            order = np.lexsort((object_, subject))
            yield relation, (subject[order], object_[order]), entries.data[order]

    def derivation(self, triple: Triple | tuple[str, str, str]) -> list[Step]:
        """One derivation of a triple: each step after its premises, stated triples first, the triple itself last.

        Raises:
            UsageError: the triple does not follow.
        """
        triple = Triple(triple[0], triple[1], triple[2])
        if triple not in self:
            raise UsageError(f"{' '.join(triple)} does not follow from what is stated: ask for one of the triples")
        found: dict[Triple, Step] = {}
        waiting = [triple]
        while waiting:
            each = waiting.pop()
            if each not in found:
                found[each] = self._step(each)
                waiting += found[each].premises
        return sorted(found.values(), key=lambda step: self.round_of(step.triple))

    def _step(self, triple: Triple) -> Step:
        """The rule that gives a triple, with premises of earlier rounds."""
        limit = self.round_of(triple)
        for rule in self.rules:
            if limit > 1 and rule.head.relation == triple.relation:
                bound = _bind({}, ((rule.head.subject, triple.subject), (rule.head.object, triple.object)))
                for binding in () if bound is None else self._bindings(rule.body, bound, limit):
                    if all(_value(binding, a) != _value(binding, b) for a, b in rule.different):
                        values = {**binding, **{term: term.name for term in terms_of(rule.body) if term.is_name}}
                        body = (Triple(values[atom.subject], atom.relation, values[atom.object]) for atom in rule.body)
                        return Step(triple, rule, tuple(body))
        return Step(triple, None)

    def _bindings(self, atoms: Sequence[Atom], binding: dict[Term, str], limit: int) -> Iterator[dict[Term, str]]:
        """All values of variables with which the atoms hold by triples of rounds before a limit."""
        if not atoms:
            yield binding
            return
        # The most constrained atom first.
        atom = max(
            atoms, key=lambda atom: sum(_value(binding, term) is not None for term in (atom.subject, atom.object))
        )
        rest = [other for other in atoms if other is not atom]
        for subject, object_ in self._matches(atom, binding, limit):
            more = _bind(binding, ((atom.subject, subject), (atom.object, object_)))
            if more is not None:
                yield from self._bindings(rest, more, limit)

    def _matches(self, atom: Atom, binding: Mapping[Term, str], limit: int) -> Iterator[tuple[str, str]]:
        """The pairs of names of an atom under a binding."""
        if atom.relation not in self.rounds:
            return
        matrix, names = self.rounds[atom.relation], self.names
        subject, object_ = (_value(binding, term) for term in (atom.subject, atom.object))
        rows = range(len(names)) if subject is None else [self.ids[subject]]
        if subject is None and object_ is not None:
            by_object = self._by_object(atom.relation)
            number = self.ids[object_]
            chosen = slice(by_object.indptr[number], by_object.indptr[number + 1])
            entries = zip(by_object.indices[chosen], by_object.data[chosen], strict=True)
            yield from ((names[int(s)], object_) for s, round_ in entries if round_ < limit)
            return
        for row in rows:
            chosen = slice(matrix.indptr[row], matrix.indptr[row + 1])
            entries = zip(matrix.indices[chosen], matrix.data[chosen], strict=True)
            yield from ((names[row], names[int(o)]) for o, round_ in entries if round_ < limit)

    def _by_object(self, relation: str) -> csr_array:
        return self._transposed.setdefault(relation, csr_array(self.rounds[relation].T))

    @functools.cached_property
    def _transposed(self) -> dict[str, csr_array]:
        return {}


def _value(binding: Mapping[Term, str], term: Term) -> str | None:
    return term.name if term.is_name else binding.get(term)


def _bind(binding: Mapping[Term, str], values: Iterable[tuple[Term, str]]) -> dict[Term, str] | None:
    """A binding with more values; None where they contradict it."""
    found = dict(binding)
    for term, value in values:
        if _value(found, term) not in (None, value):
            return None
        if not term.is_name:
            found[term] = value
    return found


def _matrix(pairs: Int[np.ndarray, "n 2"], size: int) -> csr_array:
    return csr_array(coo_array((np.ones(len(pairs), np.int32), (pairs[:, 0], pairs[:, 1])), shape=(size, size)))


def _checked(matrix: csr_array, relation: str) -> csr_array:
    if matrix.nnz > MAX_TRIPLES:
        raise UsageError(f"the rules give {relation} more than {MAX_TRIPLES:,} triples: leave out facts, or a rule")
    return matrix


class _Body:
    """The body of a rule as a graph of terms, whose edges are matrices of the pairs for which its atoms hold.

    Eliminating a term multiplies the matrices of its edges.
    """

    def __init__(self, rule: Rule, known: Mapping[str, csr_array], ids: Mapping[str, int]) -> None:
        self.rule, self.ids, self.size = rule, ids, len(ids)
        self.masks: dict[Term, Bool[np.ndarray, " size"]] = {}
        self.edges: dict[frozenset[Term], tuple[Term, csr_array]] = {}  # with the term of the rows
        self.is_possible = True
        for atom in rule.body:
            matrix = known.get(atom.relation, csr_array((self.size, self.size), dtype=bool))
            if atom.subject == atom.object:
                self._restrict(atom.subject, matrix.diagonal())
            else:
                self._join(atom.subject, atom.object, matrix)
        for pair in rule.different:
            for term, other in (pair, pair[::-1]):
                if other.is_name:
                    self._restrict(term, np.arange(self.size) != ids[other.name])

    def consequences(self) -> csr_array:
        """The pairs for which the head follows: bool [N, N]."""
        for term in self.rule.order:
            self._eliminate(term)
        subject, object_ = self.rule.head.subject, self.rule.head.object
        ends = self._mask(subject), self._mask(object_)
        if not self.is_possible:
            return csr_array((self.size, self.size), dtype=bool)
        if subject == object_:
            return _pairs(np.flatnonzero(ends[0]), np.flatnonzero(ends[0]), self.size)
        if frozenset((subject, object_)) in self.edges:
            return _masked(self._edge(subject, object_), *ends)
        return _all_pairs(*ends, self.rule)

    def _mask(self, term: Term) -> np.ndarray:
        """The values that a term may have."""
        if term not in self.masks:
            every = np.arange(self.size)
            self.masks[term] = every == self.ids[term.name] if term.is_name else np.ones(self.size, bool)
        return self.masks[term]

    def _restrict(self, term: Term, mask: np.ndarray) -> None:
        self.masks[term] = self._mask(term) & mask

    def _edge(self, row: Term, column: Term) -> csr_array:
        first, matrix = self.edges[frozenset((row, column))]
        return matrix if first == row else csr_array(matrix.T)

    def _join(self, row: Term, column: Term, matrix: csr_array) -> None:
        """Ask for pairs of a matrix beyond what is asked already."""
        pair = frozenset((row, column))
        if pair in self.edges:
            matrix = csr_array(self._edge(row, column).multiply(matrix))
        if (row, column) in self.rule.different or (column, row) in self.rule.different:
            matrix = csr_array(matrix > _pairs(np.arange(self.size), np.arange(self.size), self.size))
        self.edges[pair] = row, matrix

    def _eliminate(self, term: Term) -> None:
        """Ask of the neighbours of a term that some value of it fits them."""
        near = sorted({other for pair in self.edges if term in pair for other in pair - {term}})
        mask = self._mask(term)
        if not near:
            self.is_possible &= bool(mask.any())
        elif len(near) == 1:
            self._restrict(near[0], self._edge(near[0], term) @ mask)
        else:
            through = _masked(self._edge(near[0], term), np.ones(self.size, bool), mask)
            product = csr_array(through @ self._edge(term, near[1]))
            self._join(near[0], near[1], _checked(product, self.rule.head.relation))
        self.edges = {pair: value for pair, value in self.edges.items() if term not in pair}


def _masked(matrix: csr_array, rows: np.ndarray, columns: np.ndarray) -> csr_array:
    """A Boolean matrix with some rows and columns alone."""
    entries = matrix.tocoo()
    row, column = entries.coords
    chosen = rows[row] & columns[column]
    return _pairs(row[chosen], column[chosen], len(rows))


def _all_pairs(rows: np.ndarray, columns: np.ndarray, rule: Rule) -> csr_array:
    """All pairs of an end and another that no atom connects."""
    row, column = np.flatnonzero(rows), np.flatnonzero(columns)
    if len(row) * len(column) > MAX_TRIPLES:
        raise UsageError(f"{rule.text} gives more than {MAX_TRIPLES:,} triples: connect its ends by an atom")
    row, column = np.repeat(row, len(column)), np.tile(column, len(row))
    ends = {rule.head.subject, rule.head.object}
    is_kept = row != column if any(set(pair) == ends for pair in rule.different) else np.ones(len(row), bool)
    return _pairs(row[is_kept], column[is_kept], len(rows))


def _pairs(row: np.ndarray, column: np.ndarray, size: int) -> csr_array:
    return csr_array(coo_array((np.ones(len(row), bool), (row, column)), shape=(size, size)))
