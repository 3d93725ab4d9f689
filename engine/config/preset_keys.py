"""The keys that a preset can have, with descriptions, types, defaults and choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from torchconsole.engine.config.catalogue import SECTIONS, Catalogue, Kind, Signature
from torchconsole.engine.config.data_schema import TransformConfig
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.config.validation_errors import model_at, section_class

KINDS = {section: kind for kind, section in SECTIONS.items()}

DEVICES = ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps")
PROCESSES = ("1", "2", "4", "8", "auto")
AUTO_LOSS = "auto"
_TRUE_FALSE = ("true", "false")
_PYTHON_BOOLS = ("True", "False")


@dataclass(frozen=True)
class KeyInfo:
    """What a key of a preset means. `default` is as in the documentation, empty if there is none.

    `choices` are the values that it can have. If `is_open`, others are possible too, such as user code.
    """

    description: str
    type: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    is_open: bool = True


def known_keys(content: dict[str, Any], catalogue: Catalogue | None) -> dict[str, str]:
    """Return every dotted key that this preset could have, with its description.

    With a catalogue this includes the arguments of its components. Of lists, only the entries that the preset
    has are included.
    """
    found = _keys(Preset, content, "", catalogue, more=0)
    return {key: info.description for key, info in found}


def described_keys(content: dict[str, Any], catalogue: Catalogue | None) -> dict[str, KeyInfo]:
    """Return what each dotted key means that this preset could have, also in a further entry of a list."""
    return dict(_keys(Preset, content, "", catalogue, more=1))


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


def is_list(key: str) -> bool:
    """Whether a key of the schema is a list of sections, such as `schedule`."""
    *section, last = key.split(".")
    field = model_at(section).model_fields.get(last)
    return field is not None and _is_list(field.annotation) and section_class(field.annotation) is not None


def type_name(annotation: Any) -> str:
    """Return the type of a key as text: `integer`, `list of text`, or the values that it can have."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, UnionType):
        return " or ".join(type_name(member) for member in inside if member is not NoneType)
    if origin in (list, tuple):
        return f"list of {type_name(inside[0])}"
    if origin is dict:
        return "table"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any"}
    return names.get(annotation, "table")


def default_name(field: FieldInfo) -> str:
    """Return the default of a key as text; `required` if it must be set, empty if there is none."""
    value = field.default
    if value is PydanticUndefined:
        return "required" if field.is_required() else ""
    if value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value!r}`"


def _choices(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from _TRUE_FALSE
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _choices(member)


def _is_closed(annotation: Any) -> bool:
    """Whether a key can have none but its choices."""
    if get_origin(annotation) in (Union, UnionType):
        return all(map(_is_closed, get_args(annotation)))
    return annotation in (bool, NoneType) or get_origin(annotation) is Literal


def _is_section(annotation: Any) -> bool:
    """Return whether the value is always a table, so that only the keys in it can be set."""
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not NoneType]
    return all(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin is list or (origin is not dict and any(map(_is_list, get_args(annotation))))


def _exists_by_default(section: list[str]) -> bool:
    field = model_at(section[:-1]).model_fields.get(section[-1])
    return field is not None and isinstance(field.default, BaseModel)


def _default(field: FieldInfo) -> Any:
    value = None if field.is_required() else field.default
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value


def _keys(
    model: type[BaseModel], content: Any, prefix: str, catalogue: Catalogue | None, more: int
) -> Iterator[tuple[str, KeyInfo]]:
    """Yield the keys of a section and of those in it; of a list, of `more` entries than the preset has."""
    table = content if isinstance(content, dict) else {}
    for name, field in model.model_fields.items():
        if not _is_section(field.annotation) or _is_list(field.annotation):
            yield prefix + name, _info(model, prefix, name, field, catalogue)
        section, value = section_class(field.annotation), table.get(name)
        if section is None:
            continue
        if _is_list(field.annotation):
            entries = value if isinstance(value, list) else []
            # A section that contains itself would have keys without end.
            extra: list[Any] = [{}] * more if section is not model else []
            for number, entry in enumerate([*entries, *extra]):
                inner = more if number < len(entries) else 0
                yield from _keys(section, entry, f"{prefix}{name}.{number}.", catalogue, inner)
        elif get_origin(field.annotation) is not dict:
            yield from _keys(section, value, f"{prefix}{name}.", catalogue, more)
    yield from _arguments(model, table, prefix, catalogue)


def _info(
    model: type[BaseModel], prefix: str, name: str, field: FieldInfo, catalogue: Catalogue | None
) -> KeyInfo:
    choices, is_open = tuple(_choices(field.annotation)), not _is_closed(field.annotation)
    kind = _kind(model, prefix)
    if name == "name" and kind is not None and catalogue is not None:
        offered = [one for one, signature in catalogue.kinds[kind].items() if not signature.unsupported]
        choices = (AUTO_LOSS, *offered) if kind == "loss" else tuple(offered)
    elif name == "init" and catalogue is not None and f"{prefix}{name}".startswith("model.init."):
        choices = tuple(catalogue.kinds["init"])
    elif prefix + name == "training.device":
        choices = DEVICES
    elif prefix + name == "distributed.processes":
        choices = PROCESSES
    return KeyInfo(
        field.description or "",
        type_name(field.annotation).replace("`", ""),
        default_name(field).strip("`").strip('"'),
        choices,
        is_open,
    )


def _kind(model: type[BaseModel], prefix: str) -> Kind | None:
    """Return what a section names."""
    if model is TransformConfig:
        return "batch transform" if prefix.startswith("data.transforms.batch.") else "transform"
    return KINDS.get(model)


def _arguments(
    model: type[BaseModel], table: dict[str, Any], prefix: str, catalogue: Catalogue | None
) -> Iterator[tuple[str, KeyInfo]]:
    """Yield the arguments of the component that a section names: those it is given, and all it can take."""
    kind = _kind(model, prefix)
    if kind is None:
        return
    field = model.model_fields["name"]
    name = table.get("name", field.default)
    known = catalogue.kinds[kind] if catalogue else {}
    is_known = isinstance(name, str) and not is_user_code(name) and name in known
    signature = known[name] if is_known else Signature(arguments={})
    for argument, value in table.items():
        is_other = argument not in model.model_fields and argument not in signature.arguments
        if is_other and not isinstance(value, dict | list):
            yield prefix + argument, KeyInfo(f"argument of {name}")
    for argument, required in signature.arguments.items():
        if argument not in model.model_fields:
            default = "required" if required else signature.defaults.get(argument, "")
            yield prefix + argument, _argument_info(str(name), default)


def _argument_info(name: str, default: str) -> KeyInfo:
    is_bool = default in _PYTHON_BOOLS
    shown = default.lower() if is_bool else default.strip("'")
    return KeyInfo(
        f"argument of {name}", "true or false" if is_bool else "", shown, _TRUE_FALSE if is_bool else ()
    )
