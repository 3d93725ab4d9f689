"""config.toml, the user's own settings: its reader, and the section that workers read, `[notify]`.

The other sections are the console's. Imports neither pydantic nor tomlkit: the console reads the file before
its first frame.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from torchconsole.engine.config.preset_files import read_toml
from torchconsole.engine.errors import PresetError, UserConfigError
from torchconsole.engine.files import exists
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.user_folders import OTHERS_WRITE, config_folder

MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class NotifyConfig:
    """`[notify]`: how the user wants to be told that a run has ended, failed, diverged or has a new best.

    `terminal`: the console uses the terminal's title, its bell and its desktop notifications. `command`: a
    command for /bin/sh, which gets the run as JSON on its standard input. `webhook`: a URL that the same JSON
    is sent to.
    """

    terminal: bool = True
    command: str = ""
    webhook: str = ""


def user_config_file() -> Path:
    """Return the path of the user's config.toml, which need not exist."""
    return config_folder() / "config.toml"


def read_user_config() -> dict[str, object]:
    """Return the content of config.toml; empty if there is no such file. Raises UserConfigError."""
    path = user_config_file()
    if not exists(path):
        return {}
    try:
        return read_toml(path, MOST_BYTES)
    except PresetError as error:
        raise UserConfigError(str(error)) from error


def section(content: Mapping[str, object], name: str) -> dict[str, object]:
    """Return a section of config.toml; empty if it is missing. Raises UserConfigError if it is a value."""
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise UserConfigError(f"{user_config_file()}: {name}: must be a section: write [{name}]")
    return found


def read_notify_config() -> NotifyConfig:
    """Read `[notify]`. Raises UserConfigError, also if others could have written the command."""
    found = section(read_user_config(), "notify")
    types = {field.name: type(field.default) for field in fields(NotifyConfig)}
    for key, value in found.items():
        if key not in types:
            raise _wrong(key, f"unknown key{did_you_mean(key, types)}")
        if type(value) is not types[key]:
            wanted = "true or false" if types[key] is bool else "text in quotes"
            raise _wrong(key, f"must be {wanted}, got {value!r}")
    config = NotifyConfig(**found)  # type: ignore[arg-type]  # checked above
    if config.webhook and not _is_web_address(config.webhook):
        raise _wrong("webhook", "must be a URL that begins with https:// or http://")
    if config.command or config.webhook:
        _require_own(user_config_file())
    return config


def _wrong(key: str, problem: str) -> UserConfigError:
    return UserConfigError(f"{user_config_file()}: notify.{key}: {problem}")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _require_own(path: Path) -> None:
    """Raise UserConfigError if another user can write to the file: what it names would run as this user."""
    for place in (path.parent, path):
        found = place.stat()
        if found.st_uid not in (0, os.geteuid()):
            raise UserConfigError(f"{place}: belongs to another user, so [notify] in it is not used")
        if found.st_mode & OTHERS_WRITE:
            raise UserConfigError(
                f"{place}: other users can write to it, so [notify] in it is not used: chmod go-w {place}"
            )
