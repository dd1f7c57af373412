"""World of families: who is whose parent is stated, and all else follows by Horn rules; some of it is never stated.

A token is a word, a person's whole name one word. Of what follows a part is withheld from training: a model that states
it has not read it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from aigc_jax.rules.clauses import parse_rules
from aigc_jax.rules.horn import Closure, Triple, closure
from aigc_jax.types import UsageError, World
from aigc_jax.worlds.automata import WeightedAutomaton, automaton_world, compiled_automaton
from aigc_jax.worlds.words import FIRST_NAMES, LAST_NAMES

LENGTH = 5
"""Tokens of a statement after its first one: person, relation, person, full stop, boundary."""

RELATIONS = {
    "parent": " is a parent of ",
    "grandparent": " is a grandparent of ",
    "ancestor": " is an ancestor of ",
    "sibling": " is a sibling of ",
    "cousin": " is a cousin of ",
}
"""``{relation: how it is said}``."""

RULES = """
grandparent(x, z) <- parent(x, y), parent(y, z)
ancestor(x, y) <- parent(x, y)
ancestor(x, z) <- parent(x, y), ancestor(y, z)
sibling(x, y) <- parent(p, x), parent(p, y), x != y
cousin(x, y) <- parent(p, x), sibling(p, q), parent(q, y)
"""

VIOLATIONS = ("valid", "false fact", "unfinished", "malformed")

SUPPORT = ("stated", "follows, in training", "follows, never in training")
"""How a true statement is known: from parents, who are all stated; or by the rules."""

CHILDREN = (3, 2, 1)
"""Children of a couple of the first generation, and of each person of the following ones."""


class KnownFamilies(NamedTuple):
    """Who there is, and all that is true of them.

    Attributes:
        names: of the persons.
        closed: the stated triples, and those that follow.
        withheld: triples that follow, and that training never states.
    """

    names: tuple[str, ...]
    closed: Closure
    withheld: frozenset[Triple]

    def support(self) -> Int[np.ndarray, "relation subject object"]:
        """The number in :data:`SUPPORT` of each statement; -1 of false ones."""
        found = np.full((len(RELATIONS), len(self.names), len(self.names)), -1, np.int32)
        number = {name: place for place, name in enumerate(self.names)}
        relations = [*RELATIONS]
        for triple in self.closed:
            place = relations.index(triple.relation), number[triple.subject], number[triple.object]
            found[place] = 2 if triple in self.withheld else int(self.closed.is_derived(triple))
        return found


@functools.cache
def draw_families(*, num_families: int = 12, withheld: float = 0.2, seed: int = 0) -> KnownFamilies:
    """Families of 17 persons in four generations, and what follows from their parents by :data:`RULES`.

    Args:
        num_families: their number, up to 50.
        withheld: share in [0, 1) of the derived triples of each relation that training never states.
        seed: of names and of what is withheld.

    Raises:
        UsageError: a number out of range.

    >>> known = draw_families()
    >>> len(known.names), known.closed.num_stated, known.closed.num_derived, len(known.withheld)
    (204, 216, 1296, 258)
    """
    if not 1 <= num_families <= len(LAST_NAMES) or not 0 <= withheld < 1:
        raise UsageError(
            f"expected 1 to {len(LAST_NAMES)} families and a withheld share in [0, 1), got {num_families} and "
            f"{withheld}: change them"
        )
    random = np.random.RandomState(seed)  # its stream is the same in all versions of NumPy
    names, parents = list[str](), list[Triple]()
    for family in random.permutation(len(LAST_NAMES))[:num_families]:
        members = iter(random.permutation(len(FIRST_NAMES)))
        couple = [f"{FIRST_NAMES[next(members)]} {LAST_NAMES[family]}" for _ in range(2)]
        names += couple
        generation = [tuple(couple)]
        for num_children in CHILDREN:
            born = list[tuple[str, ...]]()
            for whose in generation:
                for _ in range(num_children):
                    child = f"{FIRST_NAMES[next(members)]} {LAST_NAMES[family]}"
                    parents += [Triple(parent, "parent", child) for parent in whose]
                    born.append((child,))
            names += [child for (child,) in born]
            generation = born
    closed = closure(parents, parse_rules(RULES))
    chosen = list[Triple]()
    for relation in RELATIONS:
        derived = [triple for triple in closed.triples(is_derived=True) if triple.relation == relation]
        chosen += [derived[at] for at in random.permutation(len(derived))[: int(withheld * len(derived))]]
    return KnownFamilies(tuple(names), closed, frozenset(chosen))


def families(known: KnownFamilies | None = None, *, name: str = "world:families") -> World:
    """World of statements about relatives, "Ada Cole is a cousin of Max Cole.", a fifth of each relation.

    Args:
        known: from :func:`draw_families`; None for its defaults.
        name: of the world.

    Returns:
        The world; its examples are int32 [N, 6], its modes the relations. Withheld statements are valid, have
        probability 0, and the attribute ``support`` tells them apart.
    """
    known = draw_families() if known is None else known
    support, num = known.support(), len(known.names)
    world = automaton_world(
        name,
        _automaton(support),
        length=LENGTH,
        mode_names=tuple(RELATIONS),
        violations=VIOLATIONS,
        vocabulary=[text.encode() for text in (*known.names, *RELATIONS.values(), ".")],
        attribute="relation",
    )
    read_relation = world.read
    assert read_relation is not None  # for the type checker

    def read(examples: Array) -> dict[str, Int[Array, " num"]]:
        tokens, found = jnp.asarray(examples), dict(read_relation(examples))
        subject, object_ = (jnp.clip(tokens[:, place], 0, num - 1) for place in (1, 3))
        kind = jnp.asarray(support)[jnp.maximum(found["relation"], 0), subject, object_]
        return {**found, "support": jnp.where(found["relation"] < 0, -1, kind)}

    attributes = {**world.attributes, "support": SUPPORT}
    return world._replace(read=read, attributes=attributes, statements=functools.partial(_statements, num))


def _automaton(support: Int[np.ndarray, "relation subject object"]) -> WeightedAutomaton:
    """Each relation's trained statements alike; false and withheld ones have probability 0."""
    num_relations, num, _ = support.shape
    is_trained: Bool[np.ndarray, "relation subject object"] = (support == 0) | (support == 1)
    totals, stop = is_trained.sum(axis=(1, 2)), num + num_relations

    def following(state: tuple[str, int, int]) -> Mapping[int, tuple[float, tuple[str, int, int]]]:
        part, relation, subject = state
        if part == "start":
            shares = is_trained[relation].sum(axis=1) / totals[relation]
            return {person: (shares[person], ("subject", relation, person)) for person in range(num)}
        if part == "subject":
            return {num + relation: (1.0, ("relation", relation, subject))}
        if part == "relation":
            own = is_trained[relation, subject]
            return {
                person: (own[person] / max(own.sum(), 1), ("object", int(support[relation, subject, person] < 0), 0))
                for person in range(num)
            }
        return {stop: (1.0, ("end", relation, 0))} if part == "object" else {}

    def end(state: tuple[str, int, int]) -> tuple[float, int]:
        part, is_false, _ = state
        return (1.0, is_false) if part == "end" else (0.0, VIOLATIONS.index("unfinished"))

    starts = [("start", relation, 0) for relation in range(num_relations)]
    return compiled_automaton(starts, following, end, stop + 1)


def _statements(num: int) -> Int[np.ndarray, "question answer length"]:
    """Every possible statement, by relation and subject, and by object."""
    num_relations = len(RELATIONS)
    boundary = num + num_relations + 1
    found = np.full((num_relations, num, num, LENGTH + 1), boundary, np.int32)
    found[..., 1] = np.arange(num)[:, None]
    found[..., 2] = num + np.arange(num_relations)[:, None, None]
    found[..., 3] = np.arange(num)
    found[..., 4] = boundary - 1
    return found.reshape(num_relations * num, num, -1)
