"""Formulas over attributes, against Python's own ``eval`` of each assignment."""

import itertools

import numpy as np
import pytest

from aigc_jax.rules.formula import formula, is_true
from aigc_jax.types import UsageError

NUMBERS = {name: ("0", "1", "2", "3") for name in "abc"}
ATTRIBUTES = {
    "triangle": ("absent", "present"),
    "square": ("no", "yes"),
    "shape": ("disc", "cross", "small ring"),
    **NUMBERS,
}
GROUPS = {"abc": ("a", "b", "c"), "ab": ("a", "b")}


def assignments(attributes):
    """All assignments: index arrays, and a dictionary of Python values for each."""
    grid = np.meshgrid(*(np.arange(len(values)) for values in attributes.values()), indexing="ij")
    indices = {name: axis.ravel() for name, axis in zip(attributes, grid, strict=True)}

    def value(name, index):
        names = attributes[name]
        return int(names[index]) if names[0].isdigit() else bool(index) if len(names) == 2 else names[index]

    rows = [
        {name: value(name, index) for name, index in zip(indices, row, strict=True)}
        for row in zip(*indices.values(), strict=True)
    ]
    return indices, rows


INDICES, ROWS = assignments(ATTRIBUTES)


def python(text, **functions):
    return [bool(eval(text, {**row, **functions})) for row in ROWS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not (triangle and square)", "not (triangle and square)"),
        ("not triangle or square and a > 1", "not triangle or square and a > 1"),
        ("triangle -> square -> a == 1", "not triangle or (not square or a == 1)"),
        ("triangle implies a == 1", "not triangle or a == 1"),
        ("triangle <-> square", "triangle == square"),
        ("triangle iff a < b", "triangle == (a < b)"),
        ("exactly(1, triangle, square, a == b)", "triangle + square + (a == b) == 1"),
        ("at_least(2, triangle, square, a == b)", "triangle + square + (a == b) >= 2"),
        ("at most(1, triangle, square, a == b)", "triangle + square + (a == b) <= 1"),
        ("count(triangle, square) == a", "triangle + square == a"),
        ("sum(abc) == 5", "a + b + c == 5"),
        ("sum(ab, c, 2) != 2 * c + 1", "a + b + c + 2 != 2 * c + 1"),
        ("all_different(abc)", "len({a, b, c}) == 3"),
        ("all different(a, b)", "a != b"),
        ("a in (1, 3)", "a in (1, 3)"),
        ("a not in (1, b)", "a not in (1, b)"),
        ("a in 2", "a == 2"),
        ("0 < a <= b < 3", "0 < a <= b < 3"),
        ("-a + 3 * (b - c) >= 1 - 2", "-a + 3 * (b - c) >= 1 - 2"),
        ("shape == disc", "shape == 'disc'"),
        ("disc != shape", "shape != 'disc'"),
        ("shape in (disc, 'small ring')", "shape in ('disc', 'small ring')"),
        ("cross or 'small ring'", "shape in ('cross', 'small ring')"),
        ("not cross", "shape != 'cross'"),
        ("small ring", "shape == 'small ring'"),
        ("triangle == present", "triangle"),
        ("square != yes", "not square"),
        ("triangle == square", "triangle == square"),
        ("triangle or true", "True"),
        ("(a) == (((b)))", "a == b"),
    ],
)
def test_formulas_are_true_as_python_says(text, expected):
    assert is_true(formula(text, ATTRIBUTES, GROUPS), INDICES).tolist() == python(expected)


def test_random_formulas_are_true_as_python_says(rng):
    def number(depth):
        if depth == 0 or rng.random() < 0.3:
            return str(rng.choice([*NUMBERS, "1", "2"]))
        return f"({number(depth - 1)} {rng.choice(['+', '-', '*'])} {number(depth - 1)})"

    def condition(depth):
        match rng.integers(4) if depth else 3:
            case 0:
                return f"(not {condition(depth - 1)})"
            case 1:
                return f"({condition(depth - 1)} {rng.choice(['and', 'or'])} {condition(depth - 1)})"
            case 2:
                return f"{number(2)} {rng.choice(['==', '!=', '<', '<=', '>', '>='])} {number(2)}"
        return str(rng.choice(["triangle", "square", "a == b", "shape != 'cross'", "triangle != square"]))

    for _ in range(100):
        text = condition(4)
        assert is_true(formula(text, ATTRIBUTES), INDICES).tolist() == python(text), text


def test_a_formula_speaks_of_its_attributes_alone_in_their_order():
    rule = formula("c == 1 and square", ATTRIBUTES)
    assert rule.attributes == {"square": ("no", "yes"), "c": ("0", "1", "2", "3")}
    assert is_true(rule, {"square": 1, "c": np.array([[1, 2]])}).tolist() == [[True, False]]


def test_what_is_unreadable_obeys_nothing():
    rule = formula("not triangle or true", ATTRIBUTES)
    assert is_true(rule, {"triangle": np.array([-1, 0, 1])}).tolist() == [False, True, True]


def test_a_class_by_its_plain_name():
    classes = {"label": ("t-shirt/top", "ankle boot", "3")}
    for text, index in (("t-shirt/top", 0), (" ankle boot ", 1), ("3", 2), ("label == '3'", 2)):
        assert is_true(formula(text, classes), {"label": np.arange(3)}).tolist() == [i == index for i in range(3)]
    digits = {"label": tuple("0123456789")}
    assert np.flatnonzero(is_true(formula("label in (1, 7)", digits), {"label": np.arange(10)})).tolist() == [1, 7]
    assert np.flatnonzero(is_true(formula("1 or 7", digits), {"label": np.arange(10)})).tolist() == [1, 7]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("(triangle and square", 21, "expected ')' for the bracket of column 1, got the end"),
        ("triangle)", 9, "expected and, or, -> or the end, got ')'"),
        ("triangle and", 13, "expected an attribute, a number or a bracket, got the end"),
        ("", 1, "expected an attribute, a number or a bracket, got the end"),
        ("triangle square", 10, "got 'square'"),
        ("a = 3", 3, "equal is =="),
        ("a == 3 & b", 8, "got '&'"),
        ("shape == 'disc", 10, "no end of the quote"),
        (
            "not (triangle and pentagon)",
            19,
            "no attribute 'pentagon', expected one of triangle, square, shape, a, b, c",
        ),
        ("triangel", 1, "(did you mean triangle?)"),
        ("nothing == 3", 1, "no attribute 'nothing'"),
        ("a + what == 3", 5, "no attribute 'what'"),
        ("shape == blue", 10, "shape has no value 'blue': it is one of disc, cross, small ring"),
        ("triangle + 1 == 2", 1, "expected a number, got the condition triangle"),
        ("triangle == 1", 10, "triangle is a condition, 1 a number"),
        ("a and triangle", 1, "expected a condition, got the number a: compare it, as in a == 0"),
        ("shape and triangle", 1, "expected a condition, got the name shape: compare it, as in shape == disc"),
        ("a + b", 3, "expected a condition, got the number"),
        ("shape < disc", 7, "expected == or != between names"),
        ("1", 1, "1 is a value of a, b, c: write a == 1"),
        ("abc == 3", 1, "abc stands for a, b, c: write sum(abc)"),
        ("exactly(triangle, square)", 9, "expected a number, got the condition triangle"),
        ("exactly(1)", 10, "expected ','"),
        ("sum(a, b == 5", 14, "expected ')' for the bracket of column 4"),
        ("(" * 60 + "triangle" + ")" * 60, 21, "more than 20 brackets"),
        ("not " * 60 + "triangle", 81, "more than 20"),
        ("- " * 60 + "a == 1", 41, "more than 20"),
        ("triangle -> " * 60 + "square", 250, "more than 20"),
        ("99999 * 99999 * a == 1", 7, "stay below 2147483648"),
        ("a == 99999999999999999999999999", 6, "stay below"),
    ],
)
def test_broken_formulas_are_one_line_with_the_column(text, column, message):
    with pytest.raises(UsageError) as error:
        formula(text, ATTRIBUTES, GROUPS)
    assert f"the rule is broken at column {column}: " in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_endless_formulas_are_refused():
    with pytest.raises(UsageError, match="20011 characters, expected at most 20000"):
        formula(" or ".join(itertools.repeat("a == 1", 2001)) + " or a", ATTRIBUTES)
