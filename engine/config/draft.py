"""A preset in the making: an existing one, and what somebody has changed in it so far."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.inheritance import read_inherited
from torchconsole.engine.config.loading import inspect, read_value, set_key
from torchconsole.engine.config.preset_keys import default_of
from torchconsole.engine.errors import PresetError

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Draft:
    """Changes are kept as they are typed, dotted key -> text; only `set` and `reset` change them.

    Raises PresetError where the preset cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.base = read_inherited(path)
        self.changes: dict[str, str] = {}

    @property
    def overrides(self) -> list[str]:
        """The changes as `--set` takes them."""
        return [f"{key}={text}" for key, text in self.changes.items()]

    def original(self, key: str) -> str:
        """What stands in the preset, or else the default, as one would type it; empty where there is none."""
        try:
            return as_typed(_find(self.base, key))
        except LookupError:
            default = default_of(key, self.base)
            return "" if default is None else as_typed(default)

    def text(self, key: str) -> str:
        """What is typed for the key now."""
        return self.changes.get(key, self.original(key))

    def set(self, key: str, text: str) -> None:
        """Type a value; an empty one takes the key out, so that its default is in force."""
        text = text.strip()
        if text == self.original(key) or (not text and not self._has(key)):
            self.changes.pop(key, None)
        else:
            self.changes[key] = text

    def reset(self) -> None:
        """Take back every change."""
        self.changes.clear()

    def _has(self, key: str) -> bool:
        try:
            _find(self.base, key)
        except LookupError:
            return False
        return True


def changed_content(base: dict[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """A copy of plain content with the changes made. Raises PresetError for a key that leads nowhere."""
    content = copy.deepcopy(base)
    for key, text in changes.items():
        set_key(content, f"{key}={text}")
    return content


def find_mistakes(base: dict[str, Any], changes: Mapping[str, str], catalogue: Catalogue | None) -> list[str]:
    """A line for each mistake in the changed preset, `key: what is wrong`."""
    try:
        return inspect(changed_content(base, changes), catalogue)[1]
    except PresetError as error:
        return [str(error).removeprefix("--set ")]


def concerns(mistake: str, key: str) -> bool:
    """Whether a line of `find_mistakes` is about this key, something in it, or the section it lies in."""
    wrong = re.split(r"[:=]", mistake, maxsplit=1)[0] + "."
    return wrong.startswith(f"{key}.") or f"{key}.".startswith(wrong)


def as_typed(value: Any) -> str:
    """A value as one types it: TOML, but text bare where it cannot be mistaken for anything else."""
    if isinstance(value, str) and value.strip() == value and read_value(value) == value and value:
        return value if value.isprintable() else _toml(value)
    return _toml(value)


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
    """Raises LookupError where the content does not have the key."""
    found = content
    for part in key.split("."):
        if isinstance(found, list) and part.isdecimal():
            found = found[int(part)]
        elif isinstance(found, dict):
            found = found[part]
        else:
            raise KeyError(key)
    return found
