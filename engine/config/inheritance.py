"""`extends = "other"`: a preset that says only what differs from another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchconsole.engine.config.files import existing_file
from torchconsole.engine.config.preset_files import find_file, read_toml
from torchconsole.engine.errors import PresetError


def read_inherited(path: Path) -> dict[str, Any]:
    """The content of a preset with all that it extends merged in, and paths of own code made absolute.

    A section that names another component than the one it extends starts afresh: the arguments of one class
    mean nothing to another. Raises PresetError, also for presets that extend each other in a circle.
    """
    return _read(path, [])


def ancestors(path: Path) -> list[Path]:
    """The preset's file and those that it extends, the nearest first. Raises PresetError."""
    seen: list[Path] = []
    _read(path, seen)
    return seen


def difference(base: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """What a preset that extends `base` must say to be `changed`.

    Raises PresetError where that would have to take a key out, for which there are no words.
    """
    if gone := base.keys() - changed.keys():
        raise PresetError(f"`extends` cannot take {', '.join(sorted(gone))} out; save a copy instead")
    said: dict[str, Any] = {}
    for key, value in changed.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and not _renames(below, value):
            if inner := difference(below, value):
                said[key] = inner
        elif key not in base or below != value:
            said[key] = value
    return said


def _read(path: Path, seen: list[Path]) -> dict[str, Any]:
    """Adds each file that is read to `seen`."""
    if path in seen:
        circle = " -> ".join(found.name for found in [*seen, path])
        raise PresetError(f"{path}: extends itself: {circle}")
    seen.append(path)
    content: dict[str, Any] = with_absolute_paths(read_toml(path), path.parent)
    if "extends" not in content:
        return content
    parent = content.pop("extends")
    if not isinstance(parent, str):
        raise PresetError(f"{path}: extends: must be the name of a preset, got {parent!r}")
    return _merge(_read(_locate(parent, path), seen), content)


def _locate(parent: str, child: Path) -> Path:
    """Another preset by its name; a path is taken from the folder of the preset that names it."""
    if parent.endswith(".toml"):
        if path := existing_file(parent, child.parent):
            return path.resolve()
        raise PresetError(f"{child}: extends: no preset file {parent!r}")
    try:
        return find_file(parent)
    except PresetError as error:
        raise PresetError(f"{child}: extends: {error}") from error


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and not _renames(below, value):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _renames(below: dict[str, Any], over: dict[str, Any]) -> bool:
    return "name" in over and over["name"] != below.get("name")


def with_absolute_paths(content: Any, folder: Path) -> Any:
    """`file.py:Thing` is meant from the preset's own folder, wherever the program is started."""
    if isinstance(content, dict):
        return {
            key: _absolute_name(value, folder) if key == "name" else with_absolute_paths(value, folder)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [with_absolute_paths(value, folder) for value in content]
    return content


def _absolute_name(name: Any, folder: Path) -> Any:
    if not isinstance(name, str):
        return name
    place, colon, thing = name.rpartition(":")
    if not colon or not place.endswith(".py"):
        return name
    path = existing_file(place, folder) or existing_file(place, Path.cwd())
    return f"{path}:{thing}" if path else name
