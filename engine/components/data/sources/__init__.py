"""Where samples come from: bundled datasets, torchvision's, folders, tables, arrays, and the user's own."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError


def existing_folder(config: DataConfig) -> Path:
    """Return the folder `data.root`. Raises DataError if it is not set or is not a folder."""
    root = _root(config, "folder")
    if not root.is_dir():
        raise DataError(f"data.root: {'not a folder' if root.exists() else 'there is no folder'}: {root}")
    return root


def existing_file(config: DataConfig) -> Path:
    """Return the file `data.root`. Raises DataError if it is not set or is not a file."""
    root = _root(config, "file")
    if not root.is_file():
        raise DataError(f"data.root: {'not a file' if root.exists() else 'there is no file'}: {root}")
    return root


def _root(config: DataConfig, kind: str) -> Path:
    if config.root is None:
        raise DataError(f"data.root: {config.name} needs the {kind} that holds its samples")
    return Path(config.root).expanduser()
