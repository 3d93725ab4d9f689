"""The list of presets that the menu and `torchconsole presets` show; imports as little as `preset_files`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.config.data_location import BUNDLED
from torchconsole.engine.config.preset_files import existing_file, find_file, preset_files, read_inherited
from torchconsole.engine.errors import PresetError

MOST_TEXT = 4000
"""Characters of a text that are listed. Nobody reads more in the menu."""


@dataclass(frozen=True)
class PresetEntry:
    """A preset in the menu."""

    name: str
    title: str
    description: str
    path: Path
    needs: str = ""
    group: str = ""
    """The menu's heading for the preset; empty if neither it nor a preset that it extends sets one."""
    bundled: bool = False
    """Whether the data is installed together with torchconsole."""
    problem: str = ""
    """Why the file cannot be read, or its program cannot be found; empty if it can."""
    script: str = ""
    """The program of the user's that it runs: a path or a module; empty for all other presets."""


def list_presets() -> list[PresetEntry]:
    """Return every preset that can be found, sorted by name."""
    return [_read_entry(path) for path in preset_files()]


def find_preset(name: str) -> PresetEntry:
    """Find a preset by its name or by the path of its file. Raises PresetError if there is none."""
    return _read_entry(find_file(name))


def _read_entry(path: Path) -> PresetEntry:
    try:
        content = read_inherited(path)
    except PresetError as error:
        return PresetEntry(path.stem, f"cannot be read: {path.name}", str(error), path, problem=str(error))
    texts = {key: value[:MOST_TEXT] for key, value in content.items() if isinstance(value, str)}
    data = content.get("data")
    source = data.get("name") if isinstance(data, dict) else None
    script, problem = _program(content.get("script"))
    return PresetEntry(
        name=path.stem,
        title=texts.get("title", path.stem),
        description=texts.get("description", ""),
        path=path,
        needs=texts.get("needs", ""),
        group=texts.get("group", ""),
        bundled=isinstance(source, str) and source in BUNDLED,
        problem=problem,
        script=script,
    )


def _program(section: object) -> tuple[str, str]:
    """Return the program that a `[script]` names, and why it cannot be found."""
    if section is None:
        return "", ""
    names = [section.get(key) for key in ("file", "module")] if isinstance(section, dict) else []
    name = next((each for each in names if each and isinstance(each, str)), "")
    if not name:
        return "?", 'script.file: name a Python file, as in file = "train.py"'
    is_missing = name == names[0] and existing_file(name) is None
    return name, f"script.file: there is no file {name}" if is_missing else ""
