"""Load a preset from its file and overrides, validate it, and write it back as TOML."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from torchconsole.engine.config.catalogue import Catalogue, check_components
from torchconsole.engine.config.preset_files import find_file, read_inherited, read_toml
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import locate_code
from torchconsole.engine.config.validation_errors import (
    dotted,
    format_errors,
    unknown_keys,
    unsupported_values,
)
from torchconsole.engine.errors import PresetError
from torchconsole.engine.files import write_atomically

LONG_ARRAY = 64
"""Floats from which on an array is written by way of its text."""


OF_PROGRAM = "runs a program of yours ([script]); only that program knows its data, model and lr"
"""Why a script preset, or the run of one, has no part that a preset describes."""


def load_preset(name: str, overrides: Sequence[str] = (), catalogue: Catalogue | None = None) -> Preset:
    """Load the preset called `name` (or the file at that path) with `key=value` overrides.

    With a catalogue, names and arguments of components are checked too. User code is
    located, so that the run finds it again from any folder. Raises PresetError with a line for each error.
    """
    path = find_file(name)
    content = read_inherited(path)
    if "script" in content:
        raise PresetError(f"{path}: {OF_PROGRAM}; to start it: torchconsole train {name}")
    for override in overrides:
        set_key(content, override, catalogue)
    return validate(locate_code(content), str(path), catalogue, overrides)


def read_preset(path: Path) -> Preset:
    """Read a resolved preset, without following `extends`. Raises PresetError."""
    content = read_toml(path)
    if "script" in content:
        raise PresetError(f"{path}: {OF_PROGRAM}")
    return validate(content, str(path))


def dump_preset(preset: Preset) -> str:
    """Return the complete preset as TOML, including defaults, so that the text alone reproduces the run."""
    return tomlkit.dumps(_with_parsed_arrays(preset.model_dump(mode="json", exclude_none=True)))


def _with_parsed_arrays(value: Any) -> Any:
    """Replace long lists of floats by tomlkit arrays: it parses in linear time, but appends in quadratic."""
    if isinstance(value, dict):
        return {key: _with_parsed_arrays(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > LONG_ARRAY and all(isinstance(item, float) for item in value):
        return tomlkit.value(f"[{', '.join(map(repr, value))}]")
    if isinstance(value, list):
        return [_with_parsed_arrays(item) for item in value]
    return value


def write_preset(preset: Preset, path: Path) -> None:
    """Write the complete preset to `path` as TOML. Raises OSError."""
    write_atomically(path, dump_preset(preset).encode())


def set_key(content: dict[str, Any], override: str, catalogue: Catalogue | None = None) -> None:
    """Set a dotted key, e.g. `optimizer.lr=0.1` or `schedule.0.until=50`, in place.

    The value is parsed as TOML; if it is not valid TOML, it is a string. An empty value (`model.weights=`)
    removes the key, so that its default applies. Raises PresetError, also for the removal of an unknown key.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise PresetError(f"--set {override}: write key=value, e.g. --set optimizer.lr=0.1")
    if text.strip():
        table, last = _container(content, parts, override)
        table[last] = parse_value(text.strip())
        return
    trial = copy.deepcopy(content)
    table, last = _container(trial, parts, override)
    if isinstance(table, list) or last in table:
        table, last = _container(content, parts, override)
        del table[last]
        return
    table[last] = None
    errors = [*unknown_keys(trial), *(check_components(trial, catalogue) if catalogue else [])]
    if error := next((line for line in errors if _origin(line, [override])), None):
        raise PresetError(f"--set {override}: {error}")


def _container(content: dict[str, Any], parts: Sequence[str], override: str) -> tuple[Any, Any]:
    """Return the section or list that holds the last part, and the key or index; create missing sections."""
    table: Any = content
    for part in parts[:-1]:
        table = _step_into(table, part, override)
    return table, _index(table, parts[-1], override) if isinstance(table, list) else parts[-1]


def _step_into(table: Any, part: str, override: str) -> Any:
    found = table[_index(table, part, override)] if isinstance(table, list) else table.setdefault(part, {})
    if not isinstance(found, dict | list):
        raise PresetError(f"--set {override}: {part!r} is a value, not a section")
    return found


def _index(table: list[Any], part: str, override: str) -> int:
    if part in map(str, range(len(table))):
        return int(part)
    problem = f"must be a number from 0 to {len(table) - 1}" if table else "does not exist: the list is empty"
    raise PresetError(f"--set {override}: {part!r} {problem}")


def parse_value(text: str) -> Any:
    """Parse a typed value as TOML; if it is not valid TOML, return the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def validate(
    content: dict[str, Any],
    file: str,
    catalogue: Catalogue | None = None,
    overrides: Sequence[str] = (),
) -> Preset:
    """Build the preset from plain content.

    Raises PresetError with a line for each error; it begins with the override that caused the error, else
    with `file`.
    """
    preset, errors = check_content(content, catalogue)
    if preset is None or errors:
        raise PresetError(*(f"{_origin(line, overrides) or file}: {line}" for line in errors))
    return preset


def check_content(
    content: dict[str, Any], catalogue: Catalogue | None = None
) -> tuple[Preset | None, list[str]]:
    """Return the preset (None if it does not match the schema) and a line for each error."""
    errors = unsupported_values(content)
    preset = None
    try:
        preset = Preset.model_validate(content)
    except ValidationError as error:
        errors += format_errors(error)
    if catalogue is not None:
        errors += check_components(content, catalogue)
    return preset, _first_per_key(errors)


def _first_per_key(errors: list[str]) -> list[str]:
    """Keep the first line of each key; later ones follow from it, e.g. the wrong type of an unknown key."""
    lines: dict[str, str] = {}
    for line in errors:
        lines.setdefault(line.partition(": ")[0], line)
    return list(lines.values())


def _origin(error: str, overrides: Sequence[str]) -> str | None:
    """Return the last override that set the wrong key, a key in it, or the section around it."""
    wrong = f"{error.partition(':')[0]}."
    for override in reversed(overrides):
        key = f"{dotted(override.partition('=')[0].strip().split('.'))}."
        if wrong.startswith(key) or key.startswith(wrong):
            return f"--set {override}"
    return None
