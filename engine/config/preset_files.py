"""The files that presets are read from: ./presets, the user's config folder, and those that ship.

Light on purpose (tomllib alone): the console's menu lists the presets before its first frame.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from torchconsole.engine.config.files import existing_file
from torchconsole.engine.errors import PresetError
from torchconsole.engine.text import did_you_mean


def preset_folders() -> list[Path]:
    """The folders that are searched, the first one first."""
    return [Path.cwd() / "presets", user_folder(), Path(__file__).resolve().parents[2] / "presets"]


def user_folder() -> Path:
    """The user's own presets, where XDG puts them; platformdirs would cost the first frame 20 ms."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "torchconsole" / "presets"


def preset_files() -> Iterator[Path]:
    """The file of every preset that can be named, by name; of two with one name, the one found first."""
    found: dict[str, Path] = {}
    for folder in preset_folders():
        for path in folder.glob("*.toml"):
            found.setdefault(path.stem, path)
    return (found[name] for name in sorted(found))


def find_file(name: str) -> Path:
    """Find a preset's file by the preset's name, or by a path.

    Raises PresetError when there is none, with the names that come near.
    """
    if name.endswith(".toml") or "/" in name:
        if path := existing_file(name):
            return path.resolve()
        raise PresetError(f"no preset file {name!r}")
    files = {path.stem: path for path in preset_files()}
    if name in files:
        return files[name]
    if Path(name).suffix:
        raise PresetError(f"no preset named {name!r}; a preset is a .toml file, which may name your own code")
    raise PresetError(f"no preset named {name!r}{did_you_mean(name, files)}")


def read_toml(path: Path) -> dict[str, object]:
    """Read a TOML file. Raises PresetError that names the file and the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PresetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PresetError(f"{path}: is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # tomllib lets through what int() and the stack refuse
        raise PresetError(f"{path}: is not valid TOML: {error}") from error
