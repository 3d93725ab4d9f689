"""Generate docs/PRESETS.md and the messages in docs/FORMATS.md from the types (`make docs`)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from torchconsole.engine.config.resume_policy import rule_for
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.validation_errors import section_class

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "tests" / "protocol" / "v2"
MESSAGES = ("<!-- messages: make docs -->", "<!-- end of messages -->")

INTRODUCTION = """# The keys of a preset

Generated from the schema by `make docs`. Components (`name`) also take the arguments of the class they name,
as in PyTorch. *Changes* says when a key may change: in the live run (now, next epoch: not yet offered by a
command), on a resume (`torchconsole resume RUN --set key=value`), or never.

"""


def preset_reference() -> str:
    """Return the text of docs/PRESETS.md."""
    sections = [_section(Preset, "", "The preset itself")]
    for name, field in Preset.model_fields.items():
        if (section := section_class(field.annotation)) is not None:
            sections += list(_sections(section, name, field))
    return INTRODUCTION + "\n".join(sections)


def formats(text: str) -> str:
    """Return the text of docs/FORMATS.md with its examples of messages updated."""
    begin, end = MESSAGES
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{''.join(_messages())}{end}{rest.partition(end)[2]}"


def _sections(model: type[BaseModel], prefix: str, field: FieldInfo) -> Iterator[str]:
    title = f"[[{prefix}]]" if _is_list(field.annotation) else f"[{prefix}]"
    yield _section(
        model, prefix, f"`{title}`: {_sentence(field.description) or _first_sentence(model.__doc__)}"
    )
    for name, inner in model.model_fields.items():
        section = section_class(inner.annotation)
        if section is not None and section is not model:
            yield from _sections(section, f"{prefix}.{name}", inner)


def _section(model: type[BaseModel], prefix: str, title: str) -> str:
    rows = [
        _row(f"{prefix}.{name}" if prefix else name, name, field)
        for name, field in model.model_fields.items()
        if _takes_a_value(field.annotation)
    ]
    head = "\n| key | type | default | meaning | changes |\n|---|---|---|---|---|\n" if rows else ""
    return "".join([f"## {title}\n", head, *rows])


def _row(key: str, name: str, field: FieldInfo) -> str:
    rule = rule_for(key)
    changes = rule.when if rule.when != "never" else f"never: {rule.reason}"
    cells = (f"`{name}`", _type(field.annotation), _default(field), field.description or "", changes)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _takes_a_value(annotation: Any) -> bool:
    """Whether the key can be given a value, rather than only a table or a list of tables."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return any(member is not NoneType and section_class(member) is None for member in members)


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, UnionType):
        return " or ".join(_type(member) for member in inside if member is not NoneType)
    if origin in (list, tuple):
        return f"list of {_type(inside[0])}"
    if origin is dict:
        return "table"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any"}
    return names.get(annotation, "table")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required" if field.is_required() else ""
    if value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value!r}`"


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin in (list, tuple) or (origin is not dict and any(map(_is_list, get_args(annotation))))


def _sentence(description: str | None) -> str:
    return f"{description[0].upper()}{description[1:]}." if description else ""


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=\.)\s", " ".join((text or "").split()), maxsplit=1)[0]


def _messages() -> Iterator[str]:
    for name, title in (("client.jsonl", "From a client"), ("worker.jsonl", "From a worker")):
        lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
        yield f"\n### {title}\n\n```json\n" + "".join(f"{_shortened(line)}\n" for line in lines) + "```\n"


def _shortened(line: str, length: int = 400) -> str:
    return line if len(line) <= length else f"{line[:length]} ..."


def main() -> None:
    """Write both files."""
    (HERE / "PRESETS.md").write_text(preset_reference(), encoding="utf-8")
    path = HERE / "FORMATS.md"
    path.write_text(formats(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
