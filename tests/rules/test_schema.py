"""JSON schemas: texts that are allowed are valid, and those that json.dumps writes of valid values are allowed."""

import itertools
import json
import re

import pytest

from aigc_jax.rules.bytes import accepts
from aigc_jax.rules.schema import MAX_ITEMS, MAX_LENGTH, _range, limits, schema
from aigc_jax.types import UsageError

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
        "boss": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/name"}]},
    },
    "required": ["name"],
    "$defs": {"name": {"type": "string", "pattern": "^[A-Z][a-z]{0,3}$"}},
}
VALID = [
    {"name": "Bob"},
    {"name": "B", "age": 0},
    {"name": "naïve", "age": 120, "tags": []},
    {"name": 'a"b', "tags": ["b"], "boss": None},
    {"name": "a\\n", "boss": "Ann"},
    {"name": "Bob", "age": 7, "tags": ["a", "b"], "boss": "A"},
]
INVALID = [
    {},
    {"age": 3},
    {"name": ""},
    {"name": "Robert"},
    {"name": 3},
    {"name": "Bob", "age": 121},
    {"name": "Bob", "age": -1},
    {"name": "Bob", "age": 1.5},
    {"name": "Bob", "tags": ["c"]},
    {"name": "Bob", "tags": ["a", "a", "a"]},
    {"name": "Bob", "boss": "ann"},
    {"name": "Bob", "more": 1},
]


def written(value):
    return json.dumps(value, ensure_ascii=False).encode()


def test_schema_allows_what_is_valid_and_nothing_else():
    rule = schema(PERSON)
    assert all(accepts(rule, written(value)) for value in VALID)
    assert not any(accepts(rule, written(value)) for value in INVALID)


def test_schema_of_optional_properties_takes_each_choice_in_order():
    names = ["a", "b", "c", "d"]
    for required in (set(), {"b"}, {"a", "d"}):
        properties = {name: {"const": 1} for name in names}
        rule = schema({"type": "object", "properties": properties, "required": sorted(required)})
        for size in range(5):
            for chosen in itertools.permutations(names, size):
                is_valid = required <= set(chosen) and list(chosen) == sorted(chosen)
                assert accepts(rule, written(dict.fromkeys(chosen, 1))) == is_valid, chosen


def texts_of(rule, rng, num):
    """Random texts of a rule: a random allowed byte at a time, and the end where it may be, by chance."""
    for _ in range(num):
        state, text = rule.start, b""
        while not rule.accepts[state] or ((rule.next[state] >= 0).any() and rng.random() < 0.5):
            byte = int(rng.choice((rule.next[state] >= 0).nonzero()[0]))
            state, text = int(rule.next[state, byte]), text + bytes([byte])
        yield text.decode()


def test_texts_of_a_schema_are_json_of_its_types(rng):
    kinds = ["string", "integer", "number", "boolean", "null"]
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    rule = schema({"type": "object", "properties": {kind: {"type": kind} for kind in kinds}, "required": kinds})
    for text in texts_of(rule, rng, 200):
        value = json.loads(text)
        assert all(isinstance(value[kind], types[kind]) for kind in kinds)
        assert len(value["string"]) <= MAX_LENGTH


def test_schema_of_an_array_without_end_has_one():
    rule = schema({"type": "array", "items": {"const": 0}})
    assert [size for size in range(20) if accepts(rule, written([0] * size))] == list(range(MAX_ITEMS + 1))


def test_ranges_of_integers_are_exact(rng):
    for _ in range(200):
        low, high = sorted(rng.integers(-3000, 3000, 2).tolist())
        compiled = re.compile(_range(low, high))
        for number in [low - 1, low, high, high + 1, 0, *rng.integers(-3500, 3500, 30).tolist()]:
            assert bool(compiled.fullmatch(str(number))) == (low <= number <= high)
        assert not compiled.fullmatch("-0")
        assert not compiled.fullmatch(f"0{abs(high)}")


def test_limits_are_those_that_the_schema_leaves_open():
    kinds = ["string", "integer", "number", "boolean"]
    properties = {kind: {"type": kind} for kind in kinds}
    found = limits({"type": "object", "properties": properties | {"list": {"type": "array", "items": {"const": 0}}}})
    assert [words.split()[0] for words in found] == ["arrays", "integers", "numbers", "strings"]
    assert limits(PERSON) == []


def twice(number):
    """An object that refers to the next definition two times."""
    return {"type": "array", "items": {"anyOf": [{"$ref": f"#/$defs/{number + 1}"}] * 2}}


DOUBLING = {"$ref": "#/$defs/0", "$defs": {str(i): twice(i) for i in range(25)} | {"25": {"const": 1}}}


def nested(num, depth):
    """Objects of optional properties, each of such objects."""
    if depth == 0:
        return {"type": "null"}
    return {"type": "object", "properties": {f"p{i}": nested(num, depth - 1) for i in range(num)}}


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (True, "no object with a type"),
        ({}, "has type None"),
        ({"type": "tuple"}, "has type 'tuple'"),
        ({"type": "string", "format": "date"}, "'format', which is not known"),
        ({"type": "array"}, "#/items is null"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 3, "maxItems": 2}, "minItems 3 and maxItems 2"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "integers from 3 to 2"),
        ({"type": "string", "pattern": "a"}, "begin it with ^"),
        ({"type": "string", "pattern": "^.*$"}, 'allows ", \\ or control characters'),
        ({"type": "object", "properties": {}, "required": ["a"]}, "requires 'a'"),
        ({"enum": []}, "#/enum is no list"),
        ({"$ref": "#/$defs/a"}, "is not there"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}, "contains itself"),
        ({"type": "string", "maxLength": 100_000}, "too large"),
        ({"enum": ["a", 1], "type": "string"}, "has the value 1, which is not of its type"),
        ({"const": True, "type": "integer"}, "has the value true, which is not of its type"),
        ({"enum": [1, 30], "maximum": 5}, "'maximum', which is not known next to enum"),
        ({"$ref": "#/$defs/a", "maxLength": 1, "$defs": {"a": {"type": "string"}}}, "not known next to $ref"),
        ({"anyOf": [{"const": 1}], "type": "object"}, "'type', which is not known next to anyOf"),
        ({"const": float("inf")}, "NaN or infinite"),
        ({"type": []}, "#/type is no list with an entry"),
        ({"type": {"a": 1}}, "has type {'a': 1}"),
        ({"type": "object", "properties": None}, "#/properties is no object"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "required": "a"}, "#/required is no list of names"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "required": [["a"]]}, "#/required is no list"),
        ({"type": "integer", "minimum": "a"}, 'has minimum "a": give an integer'),
        ({"type": "integer", "exclusiveMinimum": True}, "has exclusiveMinimum true: give an integer"),
        ({"type": "string", "pattern": "^a)(b$"}, "is broken"),
        (DOUBLING, "is too large when it is written out"),
        (nested(6, 5), "is too large when it is written out"),
    ],
)
def test_schema_refuses_in_one_line(definition, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        schema(definition)
    assert "\n" not in str(caught.value)
