"""The keys that a preset can have, with descriptions, defaults and choices: for search and completion."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from torchconsole.engine.config.catalogue import SECTIONS, Catalogue
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.config.validation_errors import model_at, section_class

KINDS = {section: kind for kind, section in SECTIONS.items()}


def known_keys(content: dict[str, Any], catalogue: Catalogue | None) -> dict[str, str]:
    """Return every dotted key that this preset could have, with its description.

    With a catalogue this includes the arguments of its components. Of lists, only the entries that the preset
    has are included.
    """
    return dict(_keys(Preset, content, "", catalogue))


def nearest_keys(typed: str, known: Mapping[str, str], count: int) -> list[str]:
    """Return up to `count` known keys similar to the typed text, most similar first."""
    typed = typed.strip().casefold()
    if not typed:
        return []
    matches = [key for key in known if key.casefold() == typed]
    matches += [key for key in known if key.casefold().rpartition(".")[2] == typed]
    matches += [key for key in known if key.startswith(typed)]
    matches += [key for key in known if key.rpartition(".")[2].startswith(typed)]
    matches += [key for key in known if typed in key.casefold()]
    matches += difflib.get_close_matches(typed, known, n=count, cutoff=0.6)
    return list(dict.fromkeys(matches))[:count]


def default_of(key: str, content: dict[str, Any]) -> Any:
    """Return the default of a key that the preset does not set; None if there is none."""
    *section, last = key.split(".")
    inner: Any = content
    for depth, part in enumerate(section):
        inner = inner.get(part) if isinstance(inner, dict) else None
        if inner is None and not _exists_by_default(section[: depth + 1]):
            return None
    field = model_at(section).model_fields.get(last)
    return None if field is None else _default(field)


def choices_of(key: str) -> list[str]:
    """Return the values of a key that takes one of a fixed set (names, true, false), else an empty list."""
    *section, last = key.split(".")
    field = model_at(section).model_fields.get(last)
    return [] if field is None else list(_choices(field.annotation))


def _choices(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _choices(member)


def _is_section(annotation: Any) -> bool:
    """Return whether the value is always a table, so that only the keys in it can be set."""
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not NoneType]
    return all(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))


def _exists_by_default(section: list[str]) -> bool:
    field = model_at(section[:-1]).model_fields.get(section[-1])
    return field is not None and isinstance(field.default, BaseModel)


def _default(field: FieldInfo) -> Any:
    value = None if field.is_required() else field.default
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value


def _keys(
    model: type[BaseModel], content: Any, prefix: str, catalogue: Catalogue | None
) -> Iterator[tuple[str, str]]:
    table = content if isinstance(content, dict) else {}
    for name, field in model.model_fields.items():
        if not _is_section(field.annotation):
            yield prefix + name, field.description or ""
        section, value = section_class(field.annotation), table.get(name)
        if section is None:
            continue
        if _is_list(field.annotation):
            entries = list(enumerate(value)) if isinstance(value, list) else []
            for number, entry in entries:
                yield from _keys(section, entry, f"{prefix}{name}.{number}.", catalogue)
        else:
            yield from _keys(section, value, f"{prefix}{name}.", catalogue)
    yield from _arguments(model, table, prefix, catalogue)


def _arguments(
    model: type[BaseModel], table: dict[str, Any], prefix: str, catalogue: Catalogue | None
) -> Iterator[tuple[str, str]]:
    """Yield the arguments of the component that a section names: those it is given, and all it can take."""
    if model not in KINDS:
        return
    field = model.model_fields["name"]
    name = table.get("name", field.default)
    for argument, value in table.items():
        if argument not in model.model_fields and not isinstance(value, dict | list):
            yield prefix + argument, f"argument of {name}"
    if catalogue is None:
        return
    known = catalogue.kinds[KINDS[model]]
    if isinstance(name, str) and not is_user_code(name) and name in known:
        for argument in known[name].arguments:
            if argument not in model.model_fields:
                yield prefix + argument, f"argument of {name}"
