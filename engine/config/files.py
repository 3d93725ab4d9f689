"""The file that a user's text means: names in presets and on command lines may hold anything."""

from __future__ import annotations

from pathlib import Path


def existing_file(text: str, folder: Path = Path()) -> Path | None:
    """The file at the path `text`, taken from `folder`; None where there is none, or can be none."""
    try:
        path = folder / Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # too long for a name, or the home of a user that there is not
        return None
