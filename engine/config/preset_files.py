"""Preset files: where they are found, and how one that `extends` another is read and written.

Imports tomllib but neither pydantic nor tomlkit: the console's menu lists the presets before its first frame.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import PresetError
from torchconsole.engine.files import MAX_BYTES, read_regular
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.user_folders import config_folder, expand_user

PRESET_BYTES = 4 << 20
"""Largest preset that is listed, or started: the arrays for 50,000 features fit."""

MOST_NESTED = 40
"""Deepest nesting that is read; no key of the schema has a quarter of it."""

MOST_ANCESTORS = 20
"""Longest chain of presets that extend each other."""

_KEY_PART = r"""[\w"'-]+[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"""(?<![\w"'.-])(?:{_KEY_PART}){{{MOST_NESTED}}}""")
"""A dotted key of so many parts: tomllib takes minutes for one of 100,000."""


def preset_folders() -> list[Path]:
    """Return the folders that are searched for presets, in order."""
    folders = [user_folder(), Path(__file__).resolve().parents[2] / "presets"]
    try:
        return [Path.cwd() / "presets", *folders]
    except OSError:  # the working folder was removed
        return folders


def user_folder() -> Path:
    """Return the folder of the user's own presets."""
    return config_folder() / "presets"


def preset_files() -> Iterator[Path]:
    """Yield the file of every preset, sorted by name; for equal names, the one in the first folder."""
    found: dict[str, Path] = {}
    for folder in preset_folders():
        for path in _toml_files(folder):
            found.setdefault(path.stem, path)
    return (found[name] for name in sorted(found))


def find_file(name: str) -> Path:
    """Return the file of a preset, given by its name or by a path.

    Raises PresetError if there is none; the message suggests similar names.
    """
    if name.endswith(".toml") or "/" in name:
        if path := existing_file(name):
            return path.resolve()
        raise PresetError(f"preset file {name!r} does not exist")
    files = {path.stem: path for path in preset_files()}
    if name in files:
        return files[name]
    if Path(name).suffix:
        raise PresetError(
            f'no preset named {name!r}; presets are .toml files, and model.name = "file.py:Class" in one '
            "uses your own code"
        )
    raise PresetError(f"no preset named {name!r}{did_you_mean(name, files)}")


def existing_file(text: str, folder: Path = Path()) -> Path | None:
    """Return the file at the path `text`, relative to `folder`; None if there is no such file.

    `text` comes from presets and command lines and may hold anything.
    """
    try:
        path = folder / expand_user(text)
        return path if path.is_file() else None
    except OSError:  # the name is too long, or a folder above cannot be read
        return None


def read_toml(path: Path, most: int = MAX_BYTES) -> dict[str, object]:
    """Read a TOML file of at most `most` bytes, which anybody may have written.

    Raises PresetError with the file and the line.
    """
    try:
        text = read_regular(path, most).decode("utf-8")
        if _LONG_KEY.search(text):
            raise ValueError("a key has too many parts")
        content = tomllib.loads(text)
    except OSError as error:
        raise PresetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PresetError(f"{path}: is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # from int() and deep nesting, which tomllib does not catch
        raise PresetError(f"{path}: is not valid TOML: {error}") from error
    _check_depth(path, content)
    return content


def read_inherited(path: Path) -> dict[str, Any]:
    """Read a preset merged with the presets that it extends; paths of user code become absolute.

    A section that names another component than the section it extends replaces it, since the arguments of
    one class mean nothing to another. Raises PresetError, also if presets extend each other in a circle.
    """
    return _read(path, [])


def ancestors(path: Path) -> list[Path]:
    """Return the preset's file and the files that it extends, nearest first. Raises PresetError."""
    seen: list[Path] = []
    _read(path, seen)
    return seen


def difference(base: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a preset that extends `base` and results in `changed`.

    Raises PresetError if `changed` lacks a key of `base`, because `extends` cannot remove keys.
    """
    if removed := base.keys() - changed.keys():
        raise PresetError(
            f"a preset that extends another cannot remove {', '.join(sorted(removed))}; save a copy instead"
        )
    differing: dict[str, Any] = {}
    for key, value in changed.items():
        inherited = base.get(key)
        if isinstance(value, dict) and isinstance(inherited, dict) and not _renames(inherited, value):
            if inner := difference(inherited, value):
                differing[key] = inner
        elif key not in base or inherited != value:
            differing[key] = value
    return differing


def with_absolute_paths(content: Any, folder: Path) -> Any:
    """Make paths of user code and programs absolute: they are relative to the preset's folder."""
    if isinstance(content, dict):
        return {key: _with_absolute_value(key, value, folder) for key, value in content.items()}
    if isinstance(content, list):
        return [with_absolute_paths(value, folder) for value in content]
    return content


def _with_absolute_value(key: str, value: Any, folder: Path) -> Any:
    if key == "name":
        return _absolute_name(value, folder)
    if key == "script" and isinstance(value, dict):
        return _with_absolute_program(value, folder)
    if key == "code_folders" and isinstance(value, list):
        return [str(folder / expand_user(str(each))) for each in value]
    return with_absolute_paths(value, folder)


def _with_absolute_program(section: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Locate a program of the user's beside the preset, else in the working folder."""
    located = dict(section)
    file, place = section.get("file"), section.get("folder")
    if isinstance(file, str) and file:
        path = existing_file(file, folder) or existing_file(file, Path.cwd())
        located["file"] = str(path.resolve()) if path else file
    if isinstance(place, str) and place:
        located["folder"] = str(folder / expand_user(place))
    return located


def _read(path: Path, seen: list[Path]) -> dict[str, Any]:
    """Read a preset and its ancestors, and add each file to `seen`."""
    if path in seen:
        circle = " -> ".join(found.name for found in [*seen, path])
        raise PresetError(f"{path}: extends itself: {circle}")
    if len(seen) >= MOST_ANCESTORS:
        raise PresetError(f"{seen[0]}: extends a chain of more than {MOST_ANCESTORS} presets")
    seen.append(path)
    content: dict[str, Any] = with_absolute_paths(read_toml(path, PRESET_BYTES), path.parent)
    if "extends" not in content:
        return content
    parent = content.pop("extends")
    if not isinstance(parent, str):
        raise PresetError(f"{path}: extends: must be the name of a preset, got {parent!r}")
    return _merge(_read(_find_parent(parent, path), seen), content)


def _toml_files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".toml"]
    except OSError:  # there is no such folder, or it is closed
        return []


def _check_depth(path: Path, content: dict[str, Any]) -> None:
    """Raise PresetError for nesting that would exhaust the stack of whoever goes through the content."""
    level: list[Any] = [content]
    for _ in range(MOST_NESTED):
        values = (each.values() if isinstance(each, dict) else each for each in level)
        level = [item for each in values for item in each if isinstance(item, dict | list)]
    if level:
        raise PresetError(f"{path}: is nested too deeply")


def _find_parent(parent: str, child: Path) -> Path:
    """Find the preset that `child` extends; a path is relative to the folder of `child`."""
    if parent.endswith(".toml"):
        if path := existing_file(parent, child.parent):
            return path.resolve()
        raise PresetError(f"{child}: extends: preset file {parent!r} does not exist")
    try:
        return find_file(parent)
    except PresetError as error:
        raise PresetError(f"{child}: extends: {error}") from error


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inherited = merged.get(key)
        if isinstance(value, dict) and isinstance(inherited, dict) and not _renames(inherited, value):
            merged[key] = _merge(inherited, value)
        else:
            merged[key] = value
    return merged


def _renames(inherited: dict[str, Any], over: dict[str, Any]) -> bool:
    return "name" in over and over["name"] != inherited.get("name")


def _absolute_name(name: Any, folder: Path) -> Any:
    if not isinstance(name, str):
        return name
    file, colon, thing = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        return name
    path = existing_file(file, folder) or existing_file(file, Path.cwd())
    return f"{path}:{thing}" if path else name
