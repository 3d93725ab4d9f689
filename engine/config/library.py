"""Where presets are found: ./presets, the user's config folder, and those that ship.

Light on purpose (tomllib alone): the console's menu lists the presets before its first frame.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.errors import PresetError


@dataclass(frozen=True)
class PresetEntry:
    """A preset as the menu shows it; `problem` says why it cannot be read, empty when it can."""

    name: str
    title: str
    description: str
    path: Path
    problem: str = ""


def preset_folders() -> list[Path]:
    """The folders that are searched, the first one first."""
    return [Path.cwd() / "presets", _user_folder(), _shipped_folder()]


def list_presets() -> list[PresetEntry]:
    """Every preset that can be named, by name; of two with one name, the one found first."""
    found: dict[str, PresetEntry] = {}
    for folder in preset_folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, _read_entry(path))
    return [found[name] for name in sorted(found)]


def find_preset(name: str) -> PresetEntry:
    """Find a preset by its name, or by the path of its file.

    Raises PresetError when there is none, with the names that come near.
    """
    if name.endswith(".toml") or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise PresetError(f"no preset file {name!r}")
        return _read_entry(path.resolve())
    for folder in preset_folders():
        path = folder / f"{name}.toml"
        if path.is_file():
            return _read_entry(path)
    names = [entry.name for entry in list_presets()]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    raise PresetError(f"no preset named {name!r}; {hint}")


def read_toml(path: Path) -> dict[str, object]:
    """Read a TOML file. Raises PresetError that names the file and the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PresetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PresetError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"{path}: is not valid TOML: {error}") from error


def _read_entry(path: Path) -> PresetEntry:
    try:
        content = read_toml(path)
    except PresetError as error:
        return PresetEntry(path.stem, f"cannot be read: {path.name}", str(error), path, problem=str(error))
    return PresetEntry(
        path.stem, str(content.get("title", path.stem)), str(content.get("description", "")), path
    )


def _user_folder() -> Path:
    """The user's own presets, where XDG puts them; platformdirs would cost the first frame 20 ms."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "torchconsole" / "presets"


def _shipped_folder() -> Path:
    return Path(__file__).resolve().parents[2] / "presets"
