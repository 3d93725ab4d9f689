"""What the form finds out about the user's data without torch: whether it is there, and a table's columns."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.suggester import Suggester

from torchconsole.engine.config.data_location import FOLDERS, locate_data
from torchconsole.engine.user_folders import expand_user

MOST_HEADER_BYTES = 1 << 16
MOST_ENTRIES = 2000
"""Names in a folder that a completed path is looked for in."""

SEPARATORS = ",;\t|"
_TEXT_TABLES = (".csv", ".tsv", ".txt")


def data_problems(content: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the user's data, by key: a path that is not there, a column that is not.

    Only what can be seen at once is reported. Never raises.
    """
    section = content.get("data")
    if not isinstance(section, dict):
        return {}
    location = locate_data(section)
    if location.state == "missing":
        if location.path is None:
            return {"data.root": "is missing: type the path of your data"}
        kind = "folder" if section.get("name") in FOLDERS else "file"
        if section.get("root") is None:
            return {"data.download": f"the data is not in {location.path}: set it to true to download"}
        return {"data.root": f"there is no {kind} {location.path}"}
    target, columns = section.get("target"), table_columns(content)
    if isinstance(target, str) and columns and target not in columns:
        return {"data.target": f"the table has no column {target}; it has {', '.join(columns)}"}
    return {}


def table_columns(content: Mapping[str, Any]) -> list[str]:
    """Return the column names of a table in a text file; empty if they cannot be told for sure."""
    section = content.get("data")
    if (
        not isinstance(section, dict)
        or section.get("name") != "CSV"
        or {"header", "skiprows"} & section.keys()
    ):
        return []
    root = section.get("root")
    if not isinstance(root, str) or not root.casefold().endswith(_TEXT_TABLES):
        return []
    given = section.get("sep")
    try:
        line = _first_line(expand_user(root))
        separator = given if isinstance(given, str) and len(given) == 1 else max(SEPARATORS, key=line.count)
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except (OSError, ValueError, TypeError, csv.Error):
        return []
    return names if all(names) and len(set(names)) == len(names) else []


def _first_line(path: Path) -> str:
    if not path.is_file():  # reading a FIFO would wait
        return ""
    with path.open("rb") as file:
        first = file.readline(MOST_HEADER_BYTES)
    return first.decode("utf-8-sig").strip() if first.endswith(b"\n") else ""


class PathSuggester(Suggester):
    """Completes a path by the names in its folder, as a shell does."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return the path with its last part completed; None if no name begins so."""
        import asyncio

        return await asyncio.to_thread(completed_path, value)


def completed_path(typed: str) -> str | None:
    """Return a typed path with its last part completed; None if no name begins so."""
    folder, _, start = typed.rpartition("/")
    if not start:
        return None
    try:
        inside = expand_user(f"{folder}/" if "/" in typed else ".")
        with os.scandir(inside) as entries:
            found = [
                entry.name + "/" * entry.is_dir()
                for _, entry in zip(range(MOST_ENTRIES), entries, strict=False)
                if entry.name.startswith(start) and entry.name.isprintable()
            ]
    except (OSError, ValueError):
        return None
    return f"{typed[: len(typed) - len(start)]}{min(found)}" if found else None
