"""A preset that someone edits: the changes made so far, their errors, and saving it as a user preset."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import check_content, parse_value, set_key
from torchconsole.engine.config.preset_files import (
    ancestors,
    difference,
    find_file,
    preset_folders,
    read_inherited,
    user_folder,
    with_absolute_paths,
)
from torchconsole.engine.config.preset_keys import default_of
from torchconsole.engine.errors import PresetError
from torchconsole.engine.files import read_regular, replacing
from torchconsole.engine.user_folders import expand_user

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Draft:
    """An existing preset and the changes made to it, as dotted key -> typed text.

    Raises PresetError if the preset cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.base = read_inherited(path)
        self.changes: dict[str, str] = {}

    @property
    def overrides(self) -> list[str]:
        """The changes as arguments of `--set`."""
        return [f"{key}={text}" for key, text in self.changes.items()]

    def original(self, key: str) -> str:
        """Return the preset's value or else the default, formatted as typed text; empty if there is none."""
        try:
            return as_typed(_find(self.base, key))
        except LookupError:
            default = default_of(key, self.base)
            return "" if default is None else as_typed(default)

    def text(self, key: str) -> str:
        """Return the present text of a key."""
        return self.changes.get(key, self.original(key))

    def set(self, key: str, text: str) -> None:
        """Change a key; an empty text removes it from the preset, so that the default applies."""
        text = text.strip()
        if text == self.original(key) or (not text and not self.has(key)):
            self.changes.pop(key, None)
        else:
            self.changes[key] = text

    def reset(self) -> None:
        """Discard all changes."""
        self.changes.clear()

    def has(self, key: str) -> bool:
        """Whether the preset sets a key."""
        try:
            _find(self.base, key)
        except LookupError:
            return False
        return True


def changed_content(base: dict[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """Return a changed copy of plain content. Raises PresetError for a key that cannot be set."""
    content = copy.deepcopy(base)
    for key, text in changes.items():
        set_key(content, f"{key}={text}")
    return content


def draft_errors(base: dict[str, Any], changes: Mapping[str, str], catalogue: Catalogue | None) -> list[str]:
    """Return a line `key: what is wrong` for each error in the changed preset."""
    try:
        return check_content(changed_content(base, changes), catalogue)[1]
    except PresetError as error:
        return [str(error).removeprefix("--set ")]


def concerns(error: str, key: str) -> bool:
    """Return whether a line of `draft_errors` is about this key, a key in it, or the section around it."""
    wrong = re.split(r"[:=]", error, maxsplit=1)[0] + "."
    return wrong.startswith(f"{key}.") or f"{key}.".startswith(wrong)


def as_typed(value: Any) -> str:
    """Format a value as a user would type it: TOML, with strings unquoted where that is unambiguous."""
    if isinstance(value, str) and value.strip() == value and parse_value(value) == value and value:
        return value if value.isprintable() else _toml(value)
    return _toml(value)


def user_preset_file(name: str) -> Path:
    """Return the file of the user preset called `name`. Raises PresetError for an unusable name."""
    if not PRESET_NAME.fullmatch(name) or name.endswith(".toml"):
        raise PresetError(
            "a preset's name may contain letters, digits, dots, dashes and underscores, and "
            "must not end in .toml"
        )
    for folder in preset_folders():
        if folder == user_folder():
            break
        if (folder / f"{name}.toml").exists():
            raise PresetError(f"{folder}/{name}.toml takes precedence over it: choose another name")
    return user_folder() / f"{name}.toml"


def name_conflict(name: str) -> str:
    """Describe which preset a new one called `name` would replace or hide; empty if there is none."""
    if user_preset_file(name).exists():
        return f"you already have a preset called {name}; saving replaces it"
    if any((folder / f"{name}.toml").exists() for folder in preset_folders()):
        return f"{name} is a built-in preset; yours will be used instead"
    return ""


def save_copy(original: Path, changes: Mapping[str, str], name: str) -> Path:
    """Save the complete preset with the changes and its comments. Raises PresetError.

    If a change cannot be made in the original's text (because a list comes from another preset), the
    resolved preset is saved instead, without comments.
    """
    wanted = changed_content(read_inherited(original), changes)
    replaces_parent = user_preset_file(name).resolve() in _files(original)[1:]
    with _replacing_preset(name) as file:
        file.write_text("" if replaces_parent else _edited(original, changes), encoding="utf-8")
        if _content(file) != wanted:
            file.write_text(tomlkit.dumps(wanted), encoding="utf-8")
    return user_preset_file(name)


def save_extension(original: Path, changes: Mapping[str, str], name: str) -> Path:
    """Save only the differences, with `extends`. Raises PresetError if a change removes a key."""
    if user_preset_file(name).resolve() in _files(original):
        raise PresetError(
            f"this preset extends {name} and cannot replace it: save a copy or choose another name"
        )
    base = read_inherited(original)
    differing = difference(base, changed_content(base, changes))
    with _replacing_preset(name) as file:
        content = {"extends": _reference(original, name), **differing}
        file.write_text(tomlkit.dumps(content), encoding="utf-8")
    return user_preset_file(name)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_toml(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(tomlkit.item(value).as_string())
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else str(tomlkit.item(key).as_string())


def _find(content: Any, key: str) -> Any:
    """Return the value of a dotted key. Raises LookupError if the content does not have it."""
    found = content
    for part in key.split("."):
        if isinstance(found, list) and part.isdecimal():
            found = found[int(part)]
        elif isinstance(found, dict):
            found = found[part]
        else:
            raise KeyError(key)
    return found


def _files(original: Path) -> list[Path]:
    """Return the preset's file and the files that it extends."""
    return [path.resolve() for path in ancestors(original)]


def _edited(original: Path, changes: Mapping[str, str]) -> str:
    """Return the original's text with the changes made and relative paths made absolute.

    Empty if the changes cannot be made in it.
    """
    document = tomlkit.parse(read_regular(original).decode("utf-8"))
    _update(document, with_absolute_paths(document.unwrap(), original.parent))
    parent = document.get("extends")
    if isinstance(parent, str) and parent.endswith(".toml"):
        document["extends"] = str((original.parent / expand_user(parent)).resolve())
    try:
        for key, text in changes.items():
            set_key(document, f"{key}={text}")
        return tomlkit.dumps(document)
    except (PresetError, TOMLKitError):
        return ""


def _update(document: Any, content: Any) -> None:
    """Copy the values that differ from plain content into a document of the same structure."""
    entries = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in entries:
        if isinstance(value, dict | list):
            _update(document[key], value)
        elif document[key] != value:
            document[key] = value


def _reference(original: Path, name: str) -> str:
    """Return the original's name, or its path if that name finds another preset or will be the new one's."""
    try:
        is_found = original.stem != name and find_file(original.stem).samefile(original)
    except (PresetError, OSError):
        is_found = False
    return original.stem if is_found else str(original.resolve())


def _content(path: Path) -> dict[str, Any] | None:
    """Return the preset's resolved content; None if it cannot be read."""
    try:
        return read_inherited(path)
    except PresetError:
        return None


@contextmanager
def _replacing_preset(name: str) -> Iterator[Path]:
    """Give a file to write to, which then replaces the user preset atomically. Raises PresetError."""
    path = user_preset_file(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise PresetError(f"{path}: cannot be written: {error.strerror}") from error
