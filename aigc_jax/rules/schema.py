"""JSON schemas as automata: texts as ``json.dumps`` writes them, of values that a schema allows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aigc_jax.rules.bytes import complement, intersection
from aigc_jax.rules.regex import regex
from aigc_jax.rules.words import anything
from aigc_jax.types import UsageError
from aigc_jax.types.rules import Automaton

MAX_LENGTH = 32
"""Characters of a string whose schema has no maxLength."""

MAX_ITEMS = 8
"""Items of an array whose schema has no maxItems."""

MAX_DIGITS = 9
"""Digits of an integer whose schema has no bounds, and of a number before its point."""

MAX_DEPTH = 32

_MAX_CHARACTERS = 2**20
"""Of all patterns of a schema together: each reference to a part, and each choice of properties, repeats it."""

_PLAIN = r'[^"\\\x00-\x1f]'
_CHARACTER = rf'(?:{_PLAIN}|\\["\\bfnrt])'
_NUMBER = rf"-?(?:0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})(?:\.[0-9]{{1,{MAX_DIGITS}}})?"
_NOTHING = r"[^\x00-\U0010ffff]"
"""No text: of a part that has contained itself as often as it may."""

_NOTES = {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
_VALUES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_TYPES = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": set[str](),
    "boolean": set[str](),
    "null": set[str](),
}


def schema(definition: Any, *, depth: int | None = None) -> Automaton:
    """The automaton of the JSON texts that a schema allows, written as ``json.dumps`` does.

    Properties come in the order of the schema, and no others. A string without ``maxLength`` has up to 32 characters,
    an array without ``maxItems`` up to 8 items, an integer without bounds up to 9 digits: what has no end is no rule of
    a text that must end.

    Args:
        definition: a JSON schema: ``type``, ``enum``, ``const``, ``anyOf``, ``oneOf`` (as ``anyOf``), ``$ref`` to
            ``#/$defs/NAME``; ``properties``, ``required``; ``items``, ``minItems``, ``maxItems``; ``minLength``,
            ``maxLength``, ``pattern`` between ``^`` and ``$``; ``minimum``, ``maximum`` and their exclusive forms of
            integers.
        depth: how often a part may contain itself, 0 to 32; None refuses one that does.

    Raises:
        UsageError: another keyword, also next to ``$ref``, ``const``, ``enum``, ``anyOf`` or ``oneOf``, a schema that
            contains itself while no depth is given, or one of too many states.

    Reference:
        Wright et al., "JSON Schema: A Media Type for Describing JSON Documents", draft 2020-12.

    >>> from aigc_jax.rules.bytes import accepts
    >>> rule = schema({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 120}}})
    >>> [accepts(rule, text) for text in (b'{"age": 42}', b'{"age": 121}', b"{}")]
    [True, False, True]
    """
    if depth is not None and not 0 <= depth <= MAX_DEPTH:
        raise UsageError(f"expected a depth from 0 to {MAX_DEPTH}, got {depth}: 4 is usual")
    return regex(_Patterns(definition, depth).of(definition, "#", ()))


def limits(definition: Any, *, depth: int | None = None) -> list[str]:
    """The limits that :func:`schema` sets where a schema has none, in words."""
    patterns = _Patterns(definition, depth)
    patterns.of(definition, "#", ())
    return sorted(patterns.limits)


class _Patterns:
    """Regular expressions of the parts of one schema."""

    def __init__(self, root: Any, depth: int | None) -> None:
        self.root, self.depth = root, depth
        self.limits, self.size = set[str](), 0

    def of(self, part: Any, where: str, inside: tuple[str, ...]) -> str:
        """The pattern of a part of the schema at a place, within references that are being followed."""
        found = self._of(part, where, inside)
        self.size += len(found)
        _check_size(self.size, where)
        return found

    def _of(self, part: Any, where: str, inside: tuple[str, ...]) -> str:
        if part is True or not isinstance(part, Mapping):
            raise _error(where, f"is {json.dumps(part)[:40]}, no object with a type: say what is allowed")
        for word in ("$ref", "const", "enum", "anyOf", "oneOf"):
            if word in part:
                values = {"type"} if word in ("const", "enum") else set[str]()
                _check_words(part, {word} | values, where, f"next to {word}")
        if "$ref" in part:
            return self._referred(part["$ref"], where, inside)
        if "const" in part:
            return _value(part["const"], part, where)
        if "enum" in part:
            return _choice([_value(value, part, where) for value in _list(part["enum"], f"{where}/enum")])
        for word in ("anyOf", "oneOf"):
            if word in part:
                parts = _list(part[word], f"{where}/{word}")
                return _choice([self.of(each, f"{where}/{word}/{i}", inside) for i, each in enumerate(parts)])
        kind = part.get("type")
        if isinstance(kind, list):
            return _choice([self.of({**part, "type": each}, where, inside) for each in _list(kind, f"{where}/type")])
        if not isinstance(kind, str) or kind not in _TYPES:
            raise _error(where, f"has type {kind!r}: set it to one of {', '.join(_TYPES)}")
        _check_words(part, _TYPES[kind] | {"type"}, where, f"of a type {kind}")
        return getattr(self, f"_{kind}")(part, where, inside)

    def _referred(self, name: Any, where: str, inside: tuple[str, ...]) -> str:
        again = inside.count(name)
        if again and self.depth is None:
            how = "set --depth 4 to allow that four times, or --on-host for any depth, but without a promised end"
            raise _error(where, f"contains itself by {name!r}: {how}")
        if again > (self.depth or 0):
            return _NOTHING
        found = self.root
        if not isinstance(name, str) or not name.startswith("#/"):
            raise _error(where, f"refers to {name!r}: references are of this schema, #/$defs/NAME")
        for step in name[2:].split("/"):
            if not isinstance(found, Mapping) or step not in found:
                raise _error(where, f"refers to {name!r}, which is not there: define it")
            found = found[step]
        return self.of(found, name, (*inside, name))

    def _object(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        properties, required = part.get("properties", {}), part.get("required", [])
        if not isinstance(properties, Mapping):
            raise _error(f"{where}/properties", "is no object: give each property a schema")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise _error(f"{where}/required", "is no list of names: name properties")
        unknown = sorted(set(required) - set(properties))
        if unknown:
            raise _error(where, f"requires {unknown[0]!r}, which has no schema: add it to properties")
        members = [
            (f"{re.escape(_text(name))}: {self.of(each, f'{where}/properties/{name}', inside)}", name in required)
            for name, each in properties.items()
        ]
        # From the last property on: what follows where one has been written, and where none has.
        after, first = "", ""
        for member, is_required in reversed(members):
            first = member + after if is_required else f"(?:{member}{after}|{first})"
            after = f", {member}{after}" if is_required else f"(?:, {member})?{after}"
            _check_size(len(first), where)
        return rf"\{{{first}\}}"

    def _array(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        low, high = _bounds(part, "minItems", "maxItems", MAX_ITEMS, where)
        if "maxItems" not in part:
            self.limits.add(f"arrays of up to {high} items")
        if high == 0:
            return r"\[\]"
        item = self.of(part.get("items"), f"{where}/items", inside)
        filled = rf"\[{item}(?:, {item}){{{max(low - 1, 0)},{high - 1}}}\]"
        return filled if low else rf"(?:\[\]|{filled})"

    def _string(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        del inside
        pattern = part.get("pattern")
        if pattern is None:
            low, high = _bounds(part, "minLength", "maxLength", MAX_LENGTH, where)
            if "maxLength" not in part:
                self.limits.add(f"strings of up to {high} characters")
            return f'"{_CHARACTER}{{{low},{high}}}"'
        if part.keys() & {"minLength", "maxLength"}:
            raise _error(where, "has a pattern and a length: say both by the pattern")
        if not isinstance(pattern, str) or not (pattern.startswith("^") and pattern.endswith("$")):
            raise _error(where, f"has the pattern {pattern!r}: begin it with ^ and end it with $")
        inner = f"(?:{pattern[1:-1]})"
        regex(pattern)
        _check_plain(inner, where)
        return f'"{inner}"'

    def _integer(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        del inside
        limit, words = 10**MAX_DIGITS - 1, sorted(_TYPES["integer"] & part.keys())
        for word in words:
            if type(part[word]) is not int:
                raise _error(where, f"has {word} {json.dumps(part[word])[:40]}: give an integer")
        if not {"minimum", "exclusiveMinimum"} & part.keys() or not {"maximum", "exclusiveMaximum"} & part.keys():
            self.limits.add(f"integers of up to {MAX_DIGITS} digits")
        low, high = part.get("minimum", -limit), part.get("maximum", limit)
        low = max(low, part.get("exclusiveMinimum", low - 1) + 1)
        high = min(high, part.get("exclusiveMaximum", high + 1) - 1)
        if low > high or max(abs(low), abs(high)) > 10**18:
            raise _error(where, f"has integers from {low} to {high}: give integers in order, up to 10^18")
        return _range(low, high)

    def _number(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        self.limits.add(f"numbers of up to {MAX_DIGITS} digits before the point and after it")
        return _NUMBER

    def _boolean(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        return "(?:true|false)"

    def _null(self, part: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> str:
        return "null"


def _range(low: int, high: int) -> str:
    """The integers from low to high in decimal, without leading zeros."""
    parts = list[str]()
    if low < 0:
        negative = _natural(max(-high, 1), -low)
        parts.append(f"-{negative}")
    if high >= 0:
        parts.append(_natural(max(low, 0), high))
    return _choice(parts)


def _natural(low: int, high: int) -> str:
    """The natural numbers from low to high: those of one number of digits, and one beginning, at a time."""
    parts = list[str]()
    while low <= high:
        # The most nines at the end of a block that begins at low.
        size = 1
        while low > 0 and low % (10 * size) == 0 and low + 10 * size - 1 <= high:
            size *= 10
        # As many such blocks as differ in one digit alone.
        digit = low // size % 10
        count = min(9 - digit, (high - low + 1) // size - 1)
        head = str(low // size // 10) if low // size >= 10 else ""
        digits = str(digit) if count == 0 else f"[{digit}-{digit + count}]"
        free = len(str(size)) - 1
        parts.append(head + digits + (f"[0-9]{{{free}}}" if free else ""))
        low += (count + 1) * size
    return _choice(parts)


def _bounds(part: Mapping[str, Any], least: str, most: str, usual: int, where: str) -> tuple[int, int]:
    low = part.get(least, 0)
    high = part.get(most, max(usual, low) if type(low) is int else usual)
    if not (type(low) is int and type(high) is int and 0 <= low <= high):
        raise _error(where, f"has {least} {low!r} and {most} {high!r}: give integers in order")
    return low, high


def _check_plain(pattern: str, where: str) -> None:
    """Refuse a pattern of characters that a JSON string would escape."""
    beyond = intersection(anything(), complement(regex(f"{_PLAIN}*")))
    try:
        intersection(regex(pattern), beyond)
    except UsageError as error:
        if "no text at all" in str(error):
            return
        raise
    raise _error(where, 'has a pattern that allows ", \\ or control characters: exclude them, as by [^"\\\\]')


def _choice(patterns: Sequence[str]) -> str:
    return "(?:" + "|".join(patterns) + ")"


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _error(where, "is no list with an entry: give at least one")
    return value


def _value(value: Any, part: Mapping[str, Any], where: str) -> str:
    """The pattern of one value, which is of the type next to it."""
    kinds = part.get("type", list(_VALUES))
    kinds = kinds if isinstance(kinds, list) else [kinds]
    of_kinds = [kind for kind in kinds if isinstance(kind, str) and isinstance(value, _VALUES.get(kind, ()))]
    # In Python a boolean is an integer.
    if not of_kinds or (isinstance(value, bool) and "boolean" not in of_kinds):
        raise _error(where, f"has the value {json.dumps(value)[:40]}, which is not of its type: leave it out")
    return re.escape(_text(value))


def _text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UsageError("the schema has a number that is none of JSON (NaN or infinite): leave it out") from error


def _check_words(part: Mapping[str, Any], known: set[str], where: str, place: str) -> None:
    others = sorted(part.keys() - _NOTES - known)
    if others:
        raise _error(where, f"has {others[0]!r}, which is not known {place}: leave it out")


def _check_size(size: int, where: str) -> None:
    if size > _MAX_CHARACTERS:
        raise _error(where, "is too large when it is written out: use fewer references and optional properties")


def _error(where: str, what: str) -> UsageError:
    return UsageError(f"the schema at {where} {what}")
