"""The folder or file that a preset names for its data."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError


def named_folder(config: DataConfig) -> Path:
    """The folder `data.root`. Raises DataError where it is not given or is no folder."""
    root = _given(config, "the folder")
    if not root.is_dir():
        raise DataError(f"data.root: {'not a folder' if root.exists() else 'there is no folder'}: {root}")
    return root


def named_file(config: DataConfig) -> Path:
    """The file `data.root`. Raises DataError where it is not given or is no file."""
    root = _given(config, "the file")
    if not root.is_file():
        raise DataError(f"data.root: {'not a file' if root.exists() else 'there is no file'}: {root}")
    return root


def _given(config: DataConfig, what: str) -> Path:
    if config.root is None:
        raise DataError(f"data.root: {config.name} needs {what} that its samples lie in")
    return Path(config.root).expanduser()
