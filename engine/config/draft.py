"""A preset that someone edits: the changes made so far, their errors, and saving it as a user preset."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from torchconsole.engine.config.catalogue import SECTIONS, Catalogue, check_components, components
from torchconsole.engine.config.data_location import absolute_places
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
from torchconsole.engine.config.preset_keys import default_of, described_keys, is_list
from torchconsole.engine.config.validation_errors import unknown_keys
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
        self.catalogue: Catalogue | None = None
        """With it, a component that takes the place of another loses the arguments that it does not take."""

    @property
    def applied(self) -> dict[str, str]:
        """The changes in the order in which they can be made, with those that follow from them.

        Lists get the entries that are set in them. A component that is replaced by another, which does not
        take some of its arguments, loses these.
        """
        changes = _with_entries(self.base, self.changes)
        if self.catalogue is None:
            return changes
        try:
            content = changed_content(self.base, changes)
        except PresetError:
            return changes
        return {**changes, **dict.fromkeys(self._unused(content, self.catalogue), "")}

    @property
    def content(self) -> dict[str, Any]:
        """The changed preset as plain content; the original, if the changes cannot be made."""
        try:
            return changed_content(self.base, self.applied)
        except PresetError:
            return copy.deepcopy(self.base)

    @property
    def overrides(self) -> list[str]:
        """The changes as arguments of `--set`."""
        return [f"{key}={text}" for key, text in self.applied.items()]

    def problem_of(self, key: str) -> str:
        """Return why the changed preset cannot have a key, as `key: what is wrong`; empty if it can."""
        known = described_keys(self.content, self.catalogue)
        if key in known:
            return ""
        if any(name.startswith(f"{key}.") for name in known):
            return f"{key}: is a section; choose one of the keys in it, for example {_first_in(key, known)}"
        parts = key.split(".")
        for depth in range(1, len(parts)):
            outer = ".".join(parts[:depth])
            if outer in known and known[outer].type and "table" not in known[outer].type:
                return f"{key}: {parts[depth - 1]!r} is a value, not a section"
        try:
            content = changed_content(self.base, _with_entries(self.base, {**self.applied, key: "0"}))
        except PresetError as error:
            return str(error).removeprefix("--set ").replace(f"{key}=0: ", f"{key}: ")
        errors = unknown_keys(content)
        errors += check_components(content, self.catalogue) if self.catalogue else []
        return next((line for line in errors if f"{key}.".startswith(f"{line.partition(': ')[0]}.")), "")

    def _unused(self, content: dict[str, Any], catalogue: Catalogue) -> Iterator[str]:
        for kind, section, table in components(content):
            try:
                before = _find(self.base, section)
            except LookupError:
                continue
            signature = catalogue.kinds[kind].get(table.get("name", ""))
            is_other = isinstance(before, dict) and before.get("name") != table.get("name")
            if signature is None or signature.open_ended or not is_other:
                continue
            known = {*signature.arguments, *SECTIONS[kind].model_fields}
            for key in before:
                if key in table and key not in known and f"{section}.{key}" not in self.changes:
                    yield f"{section}.{key}"

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


def _with_entries(base: dict[str, Any], changes: Mapping[str, str]) -> dict[str, str]:
    """Return changes with outer keys first, and with empty entries for lists that are longer than before."""
    ordered: dict[str, str] = {}
    content = copy.deepcopy(base)

    def add(key: str, text: str) -> None:
        ordered[key] = text
        with suppress(PresetError):
            set_key(content, f"{key}={text}")

    for key in sorted(changes, key=lambda key: key.count(".")):
        parts = key.split(".")
        for depth, part in enumerate(parts):
            outer = ".".join(parts[:depth])
            if part.isdecimal() and is_list(outer):
                entries = _entries(content, outer)
                if entries is not None and len(entries) == int(part):
                    add(outer, as_typed([*entries, {}]))
        add(key, changes[key])
    return ordered


def _first_in(section: str, known: Iterable[str]) -> str:
    return next(key for key in known if key.startswith(f"{section}."))


def _entries(content: dict[str, Any], key: str) -> list[Any] | None:
    """Return the entries of a list, none if it is not there; None if the key is something else."""
    try:
        found = _find(content, key)
    except LookupError:
        return []
    return found if isinstance(found, list) else None


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
    base = read_inherited(original)
    changes = _found_anywhere(base, changes)
    wanted = changed_content(base, changes)
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
    differing = difference(base, changed_content(base, _found_anywhere(base, changes)))
    with _replacing_preset(name) as file:
        content = {"extends": _reference(original, name), **differing}
        file.write_text(tomlkit.dumps(content), encoding="utf-8")
    return user_preset_file(name)


def _found_anywhere(base: dict[str, Any], changes: Mapping[str, str]) -> dict[str, str]:
    """Return the changes, and absolute paths of what the changed preset has in the working folder.

    A preset of the user's own is used in every folder.
    """
    places = absolute_places(changed_content(base, changes))
    return {**changes, **{key: as_typed(path) for key, path in places.items()}}


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
