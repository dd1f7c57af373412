"""Horn rules: the closure is that of clingo, and each derivation is one."""

import itertools

import clingo
import numpy as np
import pytest
from scipy.sparse.csgraph import floyd_warshall

from aigc_jax.rules import horn
from aigc_jax.rules.clauses import Term, parse_rules
from aigc_jax.rules.horn import Triple, closure
from aigc_jax.types import UsageError

FAMILY = """
grandparent(x, z) <- parent(x, y), parent(y, z)
ancestor(x, y) <- parent(x, y)
ancestor(x, z) <- parent(x, y), ancestor(y, z)   # linear recursion
sibling(x, y) <- parent(p, x), parent(p, y), x != y
cousin(x, y) <- parent(g, p), parent(g, q), p != q, parent(p, x), parent(q, y)
related(x, y) <- ancestor(x, y)
related(x, y) <- related(y, x)
related(x, z) <- related(x, y), related(y, z)
"""
OTHERS = """
loop(x, x) <- parent(x, y), ancestor(y, x)
mutual(x, y) <- knows(x, y), knows(y, x), x != y
of_three(x, "n3") <- ancestor("n3", x)
not_four(x, y) <- knows(x, y), y != "n4"
kind("person", x) <- knows(x, y)
all(x, y) <- knows(x, a), knows(y, b), x != y
square(x, y) <- knows(x, a), knows(a, y), knows(x, b), likes(b, y)
some(x, y) <- likes(x, y), knows("n1", z)
ancestor(x, y) <- parent(x, y)
ancestor(x, z) <- ancestor(x, y), ancestor(y, z)
"""


def by_clingo(triples, rules):
    """All triples by an answer set solver, which grounds rules instead of multiplying matrices."""

    def term(each):
        return f'"{each.name}"' if each.is_name else each.name.upper()

    def atom(each):
        return f't({term(each.subject)},"{each.relation}",{term(each.object)})'

    lines = [f't("{s}","{r}","{o}").' for s, r, o in triples]
    for rule in rules:
        body = [atom(each) for each in rule.body] + [f"{term(a)} != {term(b)}" for a, b in rule.different]
        lines.append(f"{atom(rule.head)} :- {', '.join(body)}.")
    control = clingo.Control(["--warn=none"])
    control.add("base", [], "\n".join(lines))
    control.ground([("base", [])])
    return {tuple(value.string for value in each.symbol.arguments) for each in control.symbolic_atoms}


def random_graph(rng, num_names, num_edges, relations):
    names = [f"n{number}" for number in range(num_names)]
    return [(rng.choice(names), str(rng.choice(relations)), rng.choice(names)) for _ in range(num_edges)]


@pytest.mark.parametrize("text", [FAMILY, OTHERS])
def test_closure_is_that_of_clingo(text, rng):
    rules = parse_rules(text)
    for size in (0, 3, 12, 40):
        triples = random_graph(rng, 12, size, ["parent", "knows", "likes"])
        known, expected = closure(triples, rules), by_clingo(triples, rules)
        assert set(known) == expected
        assert set(known.triples(is_derived=False)) == set(triples)
        assert len(known) == known.num_stated + known.num_derived == len(expected)
        assert all(triple in known for triple in expected)
        assert ("n1", "parent", "nobody") not in known


def test_closure_of_a_long_chain_is_its_transitive_closure(rng):
    order = rng.permutation(60)
    edges = list(itertools.pairwise(order))
    rules = parse_rules("reach(x, y) <- next(x, y)\nreach(x, z) <- reach(x, y), reach(y, z)")
    known = closure([(str(a), "next", str(b)) for a, b in edges], rules)
    matrix = np.zeros((60, 60))
    matrix[tuple(np.transpose(edges))] = 1
    is_reached = np.isfinite(floyd_warshall(matrix)) & ~np.eye(60, dtype=bool)
    assert {(int(s), int(o)) for s, r, o in known if r == "reach"} == set(zip(*np.nonzero(is_reached), strict=True))
    # Rules that square double the length in each round.
    assert max(rounds.max() for _, _, rounds in known.arrays()) <= 9


@pytest.mark.parametrize("text", [FAMILY, OTHERS])
def test_derivation_obeys_the_rules_step_by_step(text, rng):
    rules = parse_rules(text)
    triples = random_graph(rng, 10, 18, ["parent", "knows", "likes"])
    known = closure(triples, rules)
    derived = list(known.triples(is_derived=True))
    assert len(derived) > 50
    for triple in [derived[at] for at in rng.choice(len(derived), 50, replace=False)]:
        steps, so_far = known.derivation(triple), set()
        assert steps[-1].triple == triple
        for step in steps:
            assert (step.rule is None) == (step.triple in triples)
            assert set(step.premises) <= so_far
            # The rule alone gives the triple from its premises alone.
            assert step.rule is None or step.triple in closure(step.premises, [step.rule])
            so_far.add(step.triple)
        assert len(steps) == len(so_far)
    assert known.derivation(triples[0])[0] == (triples[0], None, ())


def test_derivation_of_what_does_not_follow_is_refused():
    known = closure([("a", "parent", "b")])
    with pytest.raises(UsageError, match="b parent a does not follow"):
        known.derivation(("b", "parent", "a"))
    assert known.derivation(Triple("a", "parent", "b"))[0].rule is None


def test_names_and_relations_may_be_quoted():
    (rule,) = parse_rules('"born in"(x, "St. \\"John\\"") <- "http://e.org/in"(x, "Ä, (b)")  # a comment "')
    assert rule.head.relation == "born in"
    assert rule.head.object == Term('St. "John"', is_name=True)
    known = closure([("Ann", "http://e.org/in", "Ä, (b)")], [rule])
    assert ("Ann", "born in", 'St. "John"') in known
    assert known.num_derived == 1


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("parent(x, y) <-", 16, "expected a relation, got the end of the line"),
        ("parent(x y)", 10, "expected ',', got 'y'"),
        ("parent(x, y)", 13, "expected '<-', got the end of the line"),
        ("p(x, y) <- q(x, z)", 6, "the variable y is in no atom after the arrow"),
        ("p(x, y) <- q(x, y) r", 20, "expected ',', got 'r'"),
        ("p(x, y) <- q(x, y), 3", 21, "expected a relation, got '3'"),
        ("p(x, y) <- q(x, y). r", 21, "expected the end of the line, got 'r'"),
        ('p(x, y) <- q(x, y), "a" != "b"', 21, '"a" != "b" holds always or never'),
        ("p(x, y) <- q(x, y), x != z", 26, "the variable z is in no atom"),
        ('p(x, y) <- q(x, "y)', 17, "expected a name in quotes"),
        ('p(x, y) <- q(x, "\\k")', 17, "expected a name in quotes"),
        ("p(a, b) <- q(a, x), q(a, y), q(x, y), q(x, b), q(y, b), q(x, z), q(y, z), q(a, z)", 1, "split the rule"),
    ],
)
def test_parse_rules_names_line_and_column_of_an_error(line, column, problem):
    with pytest.raises(UsageError) as error:
        parse_rules(f"# a comment\n\n{line}\n")
    assert str(error.value).startswith(f"line 3, column {column}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_rules_that_give_too_many_triples_are_refused(monkeypatch):
    monkeypatch.setattr(horn, "MAX_TRIPLES", 20)
    triples = [(f"a{number}", "r", "b") for number in range(6)]
    for text in ("same(x, y) <- r(x, z), r(y, z)", "all(x, y) <- r(x, a), r(y, b)"):
        with pytest.raises(UsageError, match="more than 20 triples"):
            closure(triples, parse_rules(text))
