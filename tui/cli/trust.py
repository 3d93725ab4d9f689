"""`torchconsole trust`: agree to the present content of Python files, so that presets may run them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import TrustError
from torchconsole.engine.text import printable
from torchconsole.engine.user_folders import expand_user


def trust(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|FOLDER", help="Python files, or folders: all Python files in them."),
    ],
) -> int:
    """Trust Python files as they are now.

    For files that user code imports by a name that is made while it runs: other imports are found and asked
    about when a run is started. Read the files first.
    """
    from torchconsole.engine.config.user_code import trust as remember
    from torchconsole.engine.config.user_imports import read

    for file in [file for path in paths for file in _files(path)]:
        remember(file, read(file))
        print(printable(f"trusted: {file}"))
    return 0


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or the Python files in a folder. Raises TrustError if there are none."""
    path = expand_user(path).resolve()
    if not path.is_dir():
        yield path
        return
    files = sorted(file for file in path.rglob("*.py") if file.is_file())
    if not files:
        raise TrustError(f"{path}: there are no Python files in this folder")
    yield from files
