"""`torchconsole delete`: remove runs that have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.completion import complete_run
from torchconsole.tui.cli.options import RunsDir
from torchconsole.tui.cli.terminal import confirm, has_terminal


def delete(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="Names, folders or unique prefixes of runs.", autocompletion=complete_run
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Remove runs that have ended, with their checkpoints.

    Asks for each; a live run is never removed.
    """
    from torchconsole.engine.run.registry import delete_run, find_run

    folders = [find_run(run, runs_dir, by_preset="refuse") for run in runs]
    if not yes and not has_terminal():
        raise TorchconsoleError("delete asks before it removes anything: without a terminal give --yes")
    status = 0
    for folder in folders:
        if not (yes or confirm(f"Delete {folder.path} with all its checkpoints?")):
            continue
        try:
            delete_run(folder)
        except RunError as error:
            status = report_error(str(error), status=1)
        else:
            print(printable(f"deleted {folder.path}"))
    return status
