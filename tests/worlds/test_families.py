"""The world of families: what follows is what relations mean, and what is withheld is never written."""

import re

import jax
import numpy as np
import pytest

from aigc_jax.data.tokenizer import words_tokenizer
from aigc_jax.types import UsageError
from aigc_jax.worlds.families import RELATIONS, SUPPORT, draw_families
from tests.worlds.opened import fast_jit, opened

KNOWN = draw_families()
TOKENIZER = words_tokenizer(opened("families").world.vocabulary)


def tokens_of(text):
    row = np.full(10, -1, np.int32)
    tokens = TOKENIZER.encode(text)
    row[: len(tokens) + 2] = [TOKENIZER.boundary, *tokens, TOKENIZER.boundary]
    return row


def by_definition():
    """All true triples, by sets of parents and children."""
    children = {name: set() for name in KNOWN.names}
    for parent, relation, child in KNOWN.closed.triples(is_derived=False):
        assert relation == "parent"
        children[parent].add(child)
    parents = {name: {p for p in KNOWN.names if name in children[p]} for name in KNOWN.names}

    def below(name):
        return {each for child in children[name] for each in {child, *below(child)}}

    siblings = {name: {c for p in parents[name] for c in children[p]} - {name} for name in KNOWN.names}
    found = {
        "parent": children,
        "grandparent": {name: {g for child in children[name] for g in children[child]} for name in KNOWN.names},
        "ancestor": {name: below(name) for name in KNOWN.names},
        "sibling": siblings,
        "cousin": {
            name: {c for p in parents[name] for aunt in siblings[p] for c in children[aunt]} for name in KNOWN.names
        },
    }
    return {
        (name, relation, other) for relation, of in found.items() for name, others in of.items() for other in others
    }


def test_families_are_related_as_the_words_mean():
    assert set(KNOWN.closed) == by_definition()
    assert all(KNOWN.closed.is_derived(triple) for triple in KNOWN.withheld)
    for relation in [*RELATIONS][1:]:
        derived = sum(triple.relation == relation for triple in KNOWN.closed.triples(is_derived=True))
        assert sum(triple.relation == relation for triple in KNOWN.withheld) == int(0.2 * derived) > 10


def triple_of(text):
    subject, said, object_ = re.fullmatch(r"(\w+ \w+)( is an? \w+ of )(\w+ \w+)\.", text).groups()
    return subject, next(relation for relation, words in RELATIONS.items() if words == said), object_


@pytest.mark.parametrize("place", [0, 1])
def test_families_write_what_is_true_and_not_withheld(place):
    triples = {triple_of(TOKENIZER.decode(row)) for row in np.asarray(opened("families").examples()[place])}
    assert triples <= set(KNOWN.closed) - KNOWN.withheld


def test_families_statements_have_the_support_and_probability_of_their_triples():
    world = opened("families").world
    statements = world.statements()
    assert statements.shape == (5 * 204, 204, 6)
    rows = statements.reshape(-1, 6)
    chosen = np.random.default_rng(0).permutation(len(rows))[:4000]
    log_prob, violation, read = (
        jax.tree.map(np.asarray, fast_jit(of)(rows)) for of in (world.log_prob, world.violation, world.read)
    )
    for place in chosen:
        triple = triple_of(TOKENIZER.decode(rows[place]))
        expected = -1 if triple not in KNOWN.closed else 2 if triple in KNOWN.withheld else int(
            KNOWN.closed.is_derived(triple)
        )  # fmt: skip
        assert read["support"][place] == expected
        assert violation[place] == (0 if expected >= 0 else 1)
        assert np.isfinite(log_prob[place]) == (expected in (0, 1))
    # A fifth of each relation, whose trained statements are equally probable.
    p = np.exp(log_prob.astype(np.float64)).reshape(5, -1)
    np.testing.assert_allclose(p.sum(axis=1), 0.2, rtol=1e-4)
    for of in p:
        np.testing.assert_allclose(of[of > 0], 0.2 / (of > 0).sum(), rtol=1e-4)
    assert np.bincount(read["support"] + 1)[1:].tolist() == [216, 1296 - 258, 258]
    assert len(world.attributes["support"]) == len(SUPPORT) == 3


@pytest.mark.parametrize(
    ("text", "violation"),
    [("{0} is a parent of {1}.", "valid"), ("{1} is a parent of {0}.", "false fact"), ("{0}", "unfinished"),
     ("{0} is a parent of {1}", "unfinished"), ("{0} is a parent of .", "malformed"), ("{0}{1}", "malformed"),
     ("{0} is a parent of {1}.{0}", "malformed")],
)  # fmt: skip
def test_families_violation_of_planted_texts(text, violation):
    parent, _, child = next(KNOWN.closed.triples(is_derived=False))
    assert opened("families").names([tokens_of(text.format(parent, child))]) == [violation]


@pytest.mark.parametrize("given", [{"num_families": 51}, {"withheld": 1.0}])
def test_families_out_of_range_are_refused(given):
    with pytest.raises(UsageError, match="expected 1 to 50 families"):
        draw_families(**given)
