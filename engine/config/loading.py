"""From a preset's file and overrides to a validated Preset, and back to TOML."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from torchconsole.engine.config.catalogue import Catalogue, check
from torchconsole.engine.config.inheritance import read_inherited
from torchconsole.engine.config.preset_files import find_file, read_toml
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.validation_errors import describe, dotted, implausible, unknown_keys
from torchconsole.engine.errors import PresetError


def load_preset(name: str, overrides: Sequence[str] = (), catalogue: Catalogue | None = None) -> Preset:
    """Load the preset called `name` (or the file at that path) with `key=value` overrides.

    With a catalogue the components' names and arguments are checked too. Raises PresetError that names every
    mistake in it, a line each.
    """
    path = find_file(name)
    content = read_inherited(path)
    for override in overrides:
        set_key(content, override, catalogue)
    return validate(content, str(path), catalogue, overrides)


def read_preset(path: Path) -> Preset:
    """Read a preset from exactly this file. Raises PresetError."""
    return validate(read_toml(path), str(path))


def dump_preset(preset: Preset) -> str:
    """The whole preset as TOML, defaults included: this text alone repeats the run."""
    return tomlkit.dumps(preset.model_dump(mode="json", exclude_none=True))


def write_preset(preset: Preset, path: Path) -> None:
    """Write the resolved preset to `path`."""
    path.write_text(dump_preset(preset), encoding="utf-8")


def set_key(content: dict[str, Any], override: str, catalogue: Catalogue | None = None) -> None:
    """Set a dotted key, e.g. `optimizer.lr=0.1` or `schedule.0.until=50`, in place.

    The value is read as TOML; what is not TOML is taken as a string, and nothing at all (`model.weights=`)
    takes the key out, so that its default is in force. Raises PresetError, also for a key to be taken out
    that is not there and that nothing here could have.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise PresetError(f"--set {override}: write it as key=value, e.g. --set optimizer.lr=0.1")
    if text.strip():
        table, last = _place(content, parts, override)
        table[last] = read_value(text.strip())
        return
    tried = copy.deepcopy(content)
    table, last = _place(tried, parts, override)
    if isinstance(table, list) or last in table:
        table, last = _place(content, parts, override)
        del table[last]
        return
    table[last] = None
    found = [*unknown_keys(tried), *(check(tried, catalogue) if catalogue else [])]
    if mistake := next((line for line in found if _origin(line, [override])), None):
        raise PresetError(f"--set {override}: {mistake}")


def _place(content: dict[str, Any], parts: Sequence[str], override: str) -> tuple[Any, Any]:
    """The section or list that the last part lies in, made if need be, and the part's key in it."""
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
    there = f"must be a number from 0 to {len(table) - 1}" if table else "is not there, the list is empty"
    raise PresetError(f"--set {override}: {part!r} {there}")


def read_value(text: str) -> Any:
    """A value as it is typed: TOML, or the text itself where it is not TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def validate(
    content: dict[str, Any],
    where: str,
    catalogue: Catalogue | None = None,
    overrides: Sequence[str] = (),
) -> Preset:
    """The preset that plain content describes.

    Raises PresetError with a line for each mistake: first the override that made it or, for all others,
    `where`.
    """
    preset, mistakes = inspect(content, catalogue)
    if preset is None or mistakes:
        raise PresetError(*(f"{_origin(line, overrides) or where}: {line}" for line in mistakes))
    return preset


def inspect(content: dict[str, Any], catalogue: Catalogue | None = None) -> tuple[Preset | None, list[str]]:
    """The preset that plain content describes, None where its form is wrong; and a line for each mistake."""
    mistakes = implausible(content)
    preset = None
    try:
        preset = Preset.model_validate(content)
    except ValidationError as error:
        mistakes += describe(error)
    if catalogue is not None:
        mistakes += check(content, catalogue)
    return preset, _first_words(mistakes)


def _first_words(mistakes: list[str]) -> list[str]:
    """One line for each key: what is no argument at all, say, is not of the right type either."""
    lines: dict[str, str] = {}
    for line in mistakes:
        lines.setdefault(line.partition(": ")[0], line)
    return list(lines.values())


def _origin(mistake: str, overrides: Sequence[str]) -> str | None:
    """The last override that has set the mistake's key, something in it, or the section that it lies in."""
    wrong = f"{mistake.partition(':')[0]}."
    for override in reversed(overrides):
        key = f"{dotted(override.partition('=')[0].strip().split('.'))}."
        if wrong.startswith(key) or key.startswith(wrong):
            return f"--set {override}"
    return None
