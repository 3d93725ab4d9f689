"""Format pydantic's errors for users: the key, what is wrong, and the most similar valid name."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from torchconsole.engine.config.schema import Preset
from torchconsole.engine.text import did_you_mean

KeyPath = tuple[int | str, ...]

MAX_DEPTH = 20
"""Levels of sections and lists in a preset; limited because parsing TOML is recursive."""


def format_errors(error: ValidationError) -> list[str]:
    """Return one line for each wrong key, in the order of the file.

    For unions pydantic reports one error per branch; they are merged into one line per key, and the line of a
    section is left out if a key inside it has one.
    """
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_path(details["loc"]), []).append(details)
    outer = {path[:length] for path in found for length in range(len(path))}
    return [_line(path, details) for path, details in found.items() if path not in outer or not path]


def unknown_keys(content: dict[str, Any]) -> list[str]:
    """Return a line for each key that is not in the schema; ignore all other errors."""
    try:
        Preset.model_validate(content)
    except ValidationError as error:
        unknown = [details for details in error.errors() if details["type"] == "extra_forbidden"]
        return [_line(_path(details["loc"]), [details]) for details in unknown]
    return []


def unsupported_values(content: Any, path: KeyPath = ()) -> list[str]:
    """Return a line for each value that no argument takes and that could not be passed to the worker."""
    if isinstance(content, dict | list):
        if len(path) > MAX_DEPTH:
            return [f"{dotted(path[:3])}: is nested deeper than {MAX_DEPTH} levels"]
        entries = content.items() if isinstance(content, dict) else enumerate(content)
        return [line for key, value in entries for line in unsupported_values(value, (*path, key))]
    if isinstance(content, datetime.date | datetime.time):
        got = format_value(content)
        return [f"{dotted(path)}: must not be a date or a time, got {got}; use a quoted string"]
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        return [f"{dotted(path)}: must fit into 64 bits, got {format_value(content)}"]
    if isinstance(content, str) and not _is_unicode(content):
        return [f"{dotted(path)}: is not Unicode text: {format_value(content)}"]
    return []


def dotted(path: Sequence[int | str]) -> str:
    """Format a path as a dotted key, e.g. `schedule.0.until`; parts with other characters are quoted."""
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else format_value(part) for part in map(str, path))


def format_value(value: Any) -> str:
    """Format a value for a message; long ones are shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to format integers of more than 4300 digits
        return "a number with thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_unicode(text: str) -> bool:
    """Detect command line arguments that are not UTF-8: Python decodes their bytes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line(path: KeyPath, tried: list[ErrorDetails]) -> str:
    """Format the errors of one key, one for each branch of a union that pydantic tried."""
    key = dotted(path)
    first = tried[0]
    if first["type"] == "extra_forbidden":
        name = str(path[-1])
        same_name = " or ".join(map(repr, _sections_with(name)))
        suggestion = (
            f", did you mean {same_name}?"
            if same_name
            else did_you_mean(name, model_at(path[:-1]).model_fields)
        )
        return f"{key}: unknown key{suggestion}"
    if first["type"] == "missing":
        return f"{key}: is missing"
    message = " or ".join(dict.fromkeys(_message(path, details) for details in tried))
    message = message.replace(" or must be ", " or ")
    return f"{key}: {message}, got {format_value(first['input'])}" if key else message


def _message(path: KeyPath, details: ErrorDetails) -> str:
    """Return pydantic's message, reworded if it would mention a class or a regular expression."""
    if details["type"] == "model_type":
        return "must be a section (a table of keys)"
    if details["type"] == "bool_type":
        return "must be true or false"
    if details["type"] == "string_pattern_mismatch":
        return f"must be {model_at(path[:-1]).model_fields[str(path[-1])].description}"
    message = details["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
    message = message.replace("greater than or equal to", "at least").replace(
        "less than or equal to", "at most"
    )
    return f"{message[0].lower()}{message[1:]}"


def _path(location: Sequence[int | str]) -> KeyPath:
    """Return the keys in pydantic's location, without the names of union branches."""
    path: list[int | str] = []
    annotation: Any = Preset
    for part in location:
        branches = _branches(annotation)
        if len(branches) == 1:
            path.append(part)
            annotation = _inside(branches[0], part)
        else:
            named = (branch for branch in branches if str(part).startswith(_name(branch)))
            annotation = next(named, None)
    return tuple(path)


def _sections_with(name: str) -> list[str]:
    """Return the dotted key of every section that has a key of this name."""
    sections = {key: _branches(field.annotation) for key, field in Preset.model_fields.items()}
    return [
        f"{key}.{name}"
        for key, branches in sections.items()
        if any(_is_section(branch) and name in branch.model_fields for branch in branches)
    ]


def model_at(path: Sequence[int | str]) -> type[BaseModel]:
    """Return the section class at `path`."""
    model: type[BaseModel] = Preset
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = section_class(model.model_fields[part].annotation) or model
    return model


def section_class(annotation: Any) -> type[BaseModel] | None:
    """Return the section class inside an annotation such as `X | None` or `list[X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_class(inner))), None)


def _branches(annotation: Any) -> list[Any]:
    """Return the members of a union except None, or else the annotation itself."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [branch for branch in get_args(annotation) if branch is not NoneType]
    return [annotation]


def _inside(annotation: Any, part: int | str) -> Any:
    """Return the annotation of `part` of a section, list or table; None if it may be anything."""
    if _is_section(annotation):
        field = annotation.model_fields.get(part)
        return field and field.annotation
    return get_args(annotation)[-1] if get_origin(annotation) in (list, dict) else None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))
