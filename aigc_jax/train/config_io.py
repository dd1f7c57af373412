"""Configurations from JSON values: types are checked, no code is run, no pickle is read."""

from __future__ import annotations

import dataclasses
import reprlib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from aigc_jax.types import UsageError

ConfigT = TypeVar("ConfigT")

RETIRED = frozenset({"image_shape"})
"""Settings that configs without images once had too; runs of that time still load."""


def config_from_values(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Rebuild a configuration from JSON values; a setting with a default may be missing: it may be newer.

    Fields are numbers, strings, None, Literals, tuples, unions of these, or dataclasses of the same kind.
    """
    try:
        return _dataclass(cls, values, "")
    except _Mismatch as error:
        raise UsageError(
            f"the run's settings do not fit {cls.__name__}: {error}; train it again, or with the "
            "library version that made it"
        ) from None


class _Mismatch(Exception):
    """A value that does not fit its field's type."""


def _dataclass(cls: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise _Mismatch(f"expected settings for {where or cls.__name__}, got {reprlib.repr(values)}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    values = {name: value for name, value in values.items() if name in fields or name not in RETIRED}
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(fields)):
        raise _Mismatch(f"unknown setting {where}{unknown[0]}")
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in values and not has_default:
            raise _Mismatch(f"setting {where}{name} is missing")
    return cls(**{name: _value(hints[name], value, where + name) for name, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """The value as the type ``hint`` wants it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where + ".")
    if origin in (Union, types.UnionType):
        return _first_fitting(arguments, value, where)
    if origin is typing.Annotated:
        return _value(arguments[0], value, where)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is Literal:
        # 1 == True, so that the type is compared too.
        is_fit = any(type(value) is type(choice) and value == choice for choice in arguments)
    elif hint is float:
        # An integer of JSON may be larger than any float.
        is_fit = type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)
        value = float(value) if is_fit else value
    else:
        is_fit = type(value) is (type(None) if hint is None else hint)
    if not is_fit:
        raise _Mismatch(f"{where} expects {getattr(hint, '__name__', hint)}, got {reprlib.repr(value)}")
    return value


def _first_fitting(choices: Sequence[Any], value: Any, where: str) -> Any:
    reasons = []
    # An exact match first: 3 fits float, but in int | float it stays an int.
    for choice in sorted(choices, key=lambda choice: type(value) is not choice):
        try:
            return _value(choice, value, where)
        except _Mismatch as error:
            reasons.append(str(error))
    raise _Mismatch(reasons[0] if len(reasons) == 1 else f"{where} fits none of its types, got {reprlib.repr(value)}")


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Mismatch(f"{where} expects a list, got {reprlib.repr(value)}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise _Mismatch(f"{where} expects {len(hints)} entries, got {len(value)}")
    return tuple(_value(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))
