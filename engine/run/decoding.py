"""Decodes JSON that anybody may have written into the dataclasses whose content it should be.

Listing runs needs this and must not import pydantic, which takes too long.
"""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

T = TypeVar("T")

LARGEST = 2**53
"""Largest integer accepted; all of them are counts, sizes and ids. Greater ones are no exact JSON numbers."""

Timestamp = Annotated[float, "timestamp"]
"""Seconds since the epoch, up to the year 9999."""

LAST_TIMESTAMP = 253402300799.0


def parse_json(data: bytes) -> Any:
    """Parse JSON. Raises ValueError that says what is wrong with it."""
    try:
        return json.loads(data)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}") from error


def decode(kind: type[T], value: Any) -> T:
    """Build a dataclass from the parsed JSON of its content. Unknown keys are ignored.

    Integers must not be negative, and numbers must be finite. Raises ValueError that names the field that is
    missing or has the wrong type.
    """
    found: T = _decode(kind, value, "")
    return found


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _decode(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) or is_typeddict(kind):
        return _object(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (other,) = (argument for argument in arguments if argument is not NoneType)
        return None if value is None else _decode(other, value, where)
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is list and isinstance(value, list):
        return [_decode(arguments[0], item, f"{where}.{index}") for index, item in enumerate(value)]
    if origin is None and kind is Any:
        return value
    if not _is_valid(kind, origin, value):
        raise ValueError(f"{where.lstrip('.') or 'its content'} is {reprlib.repr(value)}")
    return value


def _object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where.lstrip('.') or 'its content'} is {reprlib.repr(value)}")
    known = {name: hint for name, hint in _hints(kind).items() if name in value}
    missing = _required(kind) - known.keys()
    if missing:
        raise ValueError(f"the key {f'{where}.{min(missing)}'.lstrip('.')} is missing")
    return kind(**{name: _decode(hint, value[name], f"{where}.{name}") for name, hint in known.items()})


@cache
def _required(kind: Any) -> frozenset[str]:
    """Return the names without a default."""
    if not is_dataclass(kind):
        return frozenset(kind.__required_keys__)
    return frozenset(
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    )


def _is_valid(kind: Any, origin: Any, value: Any) -> bool:
    if kind == Timestamp:
        return _is_number(value) and 0 <= value <= LAST_TIMESTAMP
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is float:
        return _is_number(value)
    if kind is int:
        return type(value) is int and 0 <= value <= LARGEST
    return type(value) is kind


def _is_number(value: Any) -> bool:
    """Whether this is a finite number that a float can hold."""
    if type(value) is int:
        return abs(value) <= LARGEST
    return type(value) is float and math.isfinite(value)
