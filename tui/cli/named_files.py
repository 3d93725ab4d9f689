"""The files that the user names on the command line, and how they are shown."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.user_folders import expand_user

EXPORTED_PROGRAM, EXPORTED_GRAPH = "predict.py", "model.pt2"
"""What a folder that `export` has written contains."""


def output_path(path: Path, *, force: bool, is_folder: bool = False) -> Path:
    """Return the absolute path of a file to write, or of the folder of an export.

    Raises TorchconsoleError if it exists and `force` is false, or is something else, or if its folder does
    not exist.
    """
    path = expand_user(path).absolute()
    if path.exists() and not force:
        raise TorchconsoleError(f"{path} already exists; pass --force to overwrite it")
    if path.exists() and not (_is_export(path) if is_folder else path.is_file()):
        kind = "a folder that torchconsole has exported" if is_folder else "a file"
        raise TorchconsoleError(f"{path} is not {kind}; choose another name")
    if not path.parent.is_dir():
        raise TorchconsoleError(f"{path.parent} is not a folder; create it first")
    return path


def _is_export(folder: Path) -> bool:
    """Whether an existing folder may get the files of an export: it has them, or is empty."""
    return folder.is_dir() and ((folder / EXPORTED_GRAPH).is_file() or not any(folder.iterdir()))


def shown_path(file: str) -> str:
    """Return a file's path, relative if it is below the current folder."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
