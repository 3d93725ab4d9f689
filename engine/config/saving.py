"""Keeps a changed preset as one of the user's own: a copy with its comments, or only what differs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from torchconsole.engine.config.draft import changed_content
from torchconsole.engine.config.inheritance import ancestors, difference, read_inherited, with_absolute_paths
from torchconsole.engine.config.loading import set_key
from torchconsole.engine.config.preset_files import find_file, preset_folders, user_folder
from torchconsole.engine.errors import PresetError
from torchconsole.engine.files import replacing

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def own_file(name: str) -> Path:
    """The file of an own preset of this name. Raises PresetError for a name that cannot be one."""
    if not NAME.fullmatch(name) or name.endswith(".toml"):
        raise PresetError("a name is made of letters, digits, dots, dashes and underscores, without .toml")
    for folder in preset_folders():
        if folder == user_folder():
            break
        if (folder / f"{name}.toml").exists():
            raise PresetError(f"{folder}/{name}.toml would be found before it: choose another name")
    return user_folder() / f"{name}.toml"


def in_the_way(name: str) -> str:
    """What a preset of this name would replace or hide; empty where the name is free."""
    if own_file(name).exists():
        return f"{name} is a preset of yours already: saving replaces it"
    if any((folder / f"{name}.toml").exists() for folder in preset_folders()):
        return f"{name} is a preset that ships: yours would be found in its place"
    return ""


def save_copy(original: Path, changes: Mapping[str, str], name: str) -> Path:
    """Save the whole preset with the changes made in it, comments kept. Raises PresetError.

    Where a change cannot be made in the original's own text (it is in a list that comes from another preset),
    what is saved is the resolved preset, without comments.
    """
    wanted = changed_content(read_inherited(original), changes)
    replaces_parent = own_file(name).resolve() in _files(original)[1:]
    with _drafting(name) as draft:
        draft.write_text("" if replaces_parent else _edited(original, changes), encoding="utf-8")
        if _content(draft) != wanted:
            draft.write_text(tomlkit.dumps(wanted), encoding="utf-8")
    return own_file(name)


def save_extension(original: Path, changes: Mapping[str, str], name: str) -> Path:
    """Save only what differs, under `extends`. Raises PresetError where that cannot say it."""
    if own_file(name).resolve() in _files(original):
        raise PresetError(f"{name} is what this preset extends: save a copy instead, or choose another name")
    base = read_inherited(original)
    said = difference(base, changed_content(base, changes))
    with _drafting(name) as draft:
        draft.write_text(tomlkit.dumps({"extends": _reference(original, name), **said}), encoding="utf-8")
    return own_file(name)


def _files(original: Path) -> list[Path]:
    """The preset's file and those that it extends."""
    return [path.resolve() for path in ancestors(original)]


def _edited(original: Path, changes: Mapping[str, str]) -> str:
    """The original's text with the changes made in it, and what it names relative to its folder absolute.

    Empty where the changes cannot be made in it.
    """
    document = tomlkit.parse(original.read_text(encoding="utf-8"))
    _update(document, with_absolute_paths(document.unwrap(), original.parent))
    parent = document.get("extends")
    if isinstance(parent, str) and parent.endswith(".toml"):
        document["extends"] = str((original.parent / Path(parent).expanduser()).resolve())
    try:
        for key, text in changes.items():
            set_key(document, f"{key}={text}")
        return tomlkit.dumps(document)
    except (PresetError, TOMLKitError):
        return ""


def _update(document: Any, content: Any) -> None:
    """Put the values of plain content of the same form into a document, where they differ."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        if isinstance(value, dict | list):
            _update(document[key], value)
        elif document[key] != value:
            document[key] = value


def _reference(original: Path, name: str) -> str:
    """The original's name, or its path where that name is taken by another preset, the new one included."""
    try:
        is_found = original.stem != name and find_file(original.stem).samefile(original)
    except (PresetError, OSError):
        is_found = False
    return original.stem if is_found else str(original.resolve())


def _content(path: Path) -> dict[str, Any] | None:
    """What a preset is; None where it cannot be read."""
    try:
        return read_inherited(path)
    except PresetError:
        return None


@contextmanager
def _drafting(name: str) -> Iterator[Path]:
    """Give a file to write to, which replaces the preset's as a whole. Raises PresetError."""
    path = own_file(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            yield draft
    except OSError as error:
        raise PresetError(f"{path}: cannot be written: {error.strerror}") from error
