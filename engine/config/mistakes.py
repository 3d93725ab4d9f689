"""Turns pydantic's errors into lines for people: the key, what is wrong, the nearest right name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from torchconsole.engine.config.schema import Preset


def describe(error: ValidationError) -> list[str]:
    """One line for each mistake, in the order of the file."""
    return [_line(details) for details in error.errors(include_url=False)]


def _line(details: ErrorDetails) -> str:
    path = list(details["loc"])
    key = ".".join(str(part) for part in path)
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(path)}"
    if details["type"] == "missing":
        return f"{key}: is missing"
    message = _message(details)
    if not key:
        return message
    return f"{key}: {message[0].lower()}{message[1:]}, got {_shown(details['input'])}"


def _message(details: ErrorDetails) -> str:
    """What is wrong, in pydantic's words but for those that name a class or a regular expression."""
    if details["type"] == "model_type":
        return "must be a section (a table of keys)"
    if details["type"] == "string_pattern_mismatch":
        *section, name = details["loc"]
        return f"must be {model_at(section).model_fields[str(name)].description}"
    return details["msg"].removeprefix("Value error, ")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(path: list[int | str]) -> str:
    known = list(model_at(path[:-1]).model_fields)
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f", did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"


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
