"""The presets that there are, as the menu and `torchconsole presets` show them; light as `preset_files`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchconsole.engine.config.data_location import BUNDLED
from torchconsole.engine.config.inheritance import read_inherited
from torchconsole.engine.config.preset_files import find_file, preset_files
from torchconsole.engine.errors import PresetError


@dataclass(frozen=True)
class PresetEntry:
    """A preset as the menu shows it; `problem` says why it cannot be read, empty when it can.

    `group` is the menu's heading for it, empty where neither it nor what it extends names one. `bundled` is
    true where its data comes along.
    """

    name: str
    title: str
    description: str
    path: Path
    needs: str = ""
    group: str = ""
    bundled: bool = False
    problem: str = ""


def list_presets() -> list[PresetEntry]:
    """Every preset that can be named, by name."""
    return [_read_entry(path) for path in preset_files()]


def find_preset(name: str) -> PresetEntry:
    """Find a preset by its name, or by the path of its file. Raises PresetError when there is none."""
    return _read_entry(find_file(name))


def _read_entry(path: Path) -> PresetEntry:
    try:
        content = read_inherited(path)
    except PresetError as error:
        return PresetEntry(path.stem, f"cannot be read: {path.name}", str(error), path, problem=str(error))
    texts = {key: value for key, value in content.items() if isinstance(value, str)}
    data = content.get("data")
    source = data.get("name") if isinstance(data, dict) else None
    return PresetEntry(
        name=path.stem,
        title=texts.get("title", path.stem),
        description=texts.get("description", ""),
        path=path,
        needs=texts.get("needs", ""),
        group=texts.get("group", ""),
        bundled=isinstance(source, str) and source in BUNDLED,
    )
