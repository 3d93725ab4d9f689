"""Turns pydantic's errors into lines for people: the key, what is wrong, the nearest right name."""

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

Path = tuple[int | str, ...]

DEEPEST = 20
"""Levels of sections and lists in a preset. What is written takes Python's stack to read back."""


def describe(error: ValidationError) -> list[str]:
    """One line for each mistake, in the order of the file.

    Of a key that may be one thing or another, pydantic tells what is wrong with either: what it says of a key
    is one line here, and is left out where it says something of a key inside.
    """
    found: dict[Path, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_path(details["loc"]), []).append(details)
    outer = {path[:length] for path in found for length in range(len(path))}
    return [_line(path, details) for path, details in found.items() if path not in outer or not path]


def unknown_keys(content: dict[str, Any]) -> list[str]:
    """A line for each key that no preset has, whatever else is wrong."""
    try:
        Preset.model_validate(content)
    except ValidationError as error:
        unknown = [details for details in error.errors() if details["type"] == "extra_forbidden"]
        return [_line(_path(details["loc"]), [details]) for details in unknown]
    return []


def implausible(content: Any, path: Path = ()) -> list[str]:
    """A line for each value that no argument can have and that would not outlive the way to the worker."""
    if isinstance(content, dict | list):
        if len(path) > DEEPEST:
            return [f"{dotted(path[:3])}: is nested deeper than {DEEPEST} levels"]
        entries = content.items() if isinstance(content, dict) else enumerate(content)
        return [line for key, value in entries for line in implausible(value, (*path, key))]
    if isinstance(content, datetime.date | datetime.time):
        return [f"{dotted(path)}: must not be a date or a time, got {shown(content)}; write a text in quotes"]
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        return [f"{dotted(path)}: must fit into 64 bits, got {shown(content)}"]
    if isinstance(content, str) and not _is_unicode(content):
        return [f"{dotted(path)}: is not Unicode text: {shown(content)}"]
    return []


def dotted(path: Sequence[int | str]) -> str:
    """A key as it is written in a preset or after --set: `schedule.0.until`, strange names in quotes."""
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else shown(part) for part in map(str, path))


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_unicode(text: str) -> bool:
    """Bytes on a command line that are no UTF-8 reach Python as halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line(path: Path, tried: list[ErrorDetails]) -> str:
    key = dotted(path)
    first = tried[0]
    if first["type"] == "extra_forbidden":
        name = str(path[-1])
        elsewhere = " or ".join(map(repr, _sections_with(name)))
        meant = (
            f", did you mean {elsewhere}?"
            if elsewhere
            else did_you_mean(name, model_at(path[:-1]).model_fields)
        )
        return f"{key}: unknown key{meant}"
    if first["type"] == "missing":
        return f"{key}: is missing"
    message = " or ".join(dict.fromkeys(_message(path, details) for details in tried))
    message = message.replace(" or input should be ", " or ").replace(" or must be ", " or ")
    return f"{key}: {message}, got {shown(first['input'])}" if key else message


def _message(path: Path, details: ErrorDetails) -> str:
    """What is wrong, in pydantic's words but for those that name a class or a regular expression."""
    if details["type"] == "model_type":
        return "must be a section (a table of keys)"
    if details["type"] == "bool_type":
        return "must be true or false"
    if details["type"] == "string_pattern_mismatch":
        return f"must be {model_at(path[:-1]).model_fields[str(path[-1])].description}"
    message = details["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"


def _path(location: Sequence[int | str]) -> Path:
    """The keys in pydantic's location, which also names the branch of each union that was tried."""
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
    """The key in each section that has one of this name."""
    sections = {key: _branches(field.annotation) for key, field in Preset.model_fields.items()}
    return [
        f"{key}.{name}"
        for key, branches in sections.items()
        if any(_is_section(branch) and name in branch.model_fields for branch in branches)
    ]


def model_at(path: Sequence[int | str]) -> type[BaseModel]:
    """The section that `path` leads to."""
    model: type[BaseModel] = Preset
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = section_class(model.model_fields[part].annotation) or model
    return model


def section_class(annotation: Any) -> type[BaseModel] | None:
    """The section class inside an annotation such as `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_class(inner))), None)


def _branches(annotation: Any) -> list[Any]:
    """What a value may be, apart from None: several for a union, else one."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [branch for branch in get_args(annotation) if branch is not NoneType]
    return [annotation]


def _inside(annotation: Any, part: int | str) -> Any:
    """The type of what lies at `part` of a section, list or table; None where anything may."""
    if _is_section(annotation):
        field = annotation.model_fields.get(part)
        return field and field.annotation
    return get_args(annotation)[-1] if get_origin(annotation) in (list, dict) else None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _name(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))
