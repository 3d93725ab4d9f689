"""`torchconsole attach`: open the console on a run."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.completion import complete_run
from torchconsole.tui.cli.named_runs import find_run
from torchconsole.tui.cli.options import RunsDir
from torchconsole.tui.cli.terminal import explain_dumb_terminal, has_terminal


def attach(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run to attach to (default: the newest live run).",
            autocompletion=complete_run,
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Watch only; keys cannot change the run.")
    ] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Open the console on a run.

    Without RUN, opens the newest live run, or the newest run if none is live.
    """
    from torchconsole.tui.cli.console import open_run

    if explain_dumb_terminal():
        from torchconsole.tui.cli.headless_output import HeadlessOutput
        from torchconsole.tui.cli.unattended import follow_headless

        found = find_run(run, runs_dir, live=run is not None)
        return asyncio.run(follow_headless(found, HeadlessOutput()))
    if not has_terminal():
        if run is not None:
            find_run(run, runs_dir, live=True)
        return report_error(
            "attach needs a terminal; without one use `torchconsole runs` and `torchconsole send`"
        )
    folder = find_run(run, runs_dir, live=run is not None)
    folder.read_record()  # a run that cannot be read needs no console to say so
    return open_run(folder, read_only=read_only)
