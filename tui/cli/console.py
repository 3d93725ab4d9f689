"""Opens the console and says, once the screen is the shell's again, what became of the run."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.terminal import has_terminal
from torchconsole.tui.process import configure_for_ssh

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.tui.app import ConsoleApp


def open_menu(runs_dir: Path | None) -> int:
    """Show the menu until the user leaves, and return the exit status."""
    if not has_terminal():
        return report_error(
            "the console needs a terminal; `torchconsole --help` lists what works without one"
        )
    configure_for_ssh()
    from torchconsole.tui.app import ConsoleApp

    app = ConsoleApp(runs_dir=runs_dir)
    status = asyncio.run(_show(app))
    if status == 0 and app.return_value is not None:
        _tell_way_back(app.return_value)
    return status


def open_run(folder: RunFolder, started: StartedRun | None = None, *, read_only: bool = False) -> int:
    """Show a run until the user leaves it, and return the exit status that it deserves.

    `started` is the run's worker where this process has started it. With `read_only` no key changes the run.
    """
    configure_for_ssh()
    from torchconsole.tui.app import ConsoleApp
    from torchconsole.tui.cli.outcome import report_outcome

    app = ConsoleApp(folder, started, read_only=read_only)
    # What is loaded now stays: the garbage collector need not look through it ever again.
    gc.freeze()
    status = asyncio.run(_show(app))
    return status or report_outcome(folder, started)


def _tell_way_back(folder: RunFolder) -> None:
    from torchconsole.tui.cli.outcome import describe

    record = folder.read_record()
    if record.is_live:
        print(describe(record))


GC_THRESHOLDS = 10_000, 20, 10
"""The collector's own would have it look through the whole console every ten seconds or so in full flow, for
up to a tenth of a second. What dies in a cycle there dies young, but for the screens of runs that are left:
once in 50 minutes or so of full flow, or after some forty of them, it looks through everything."""


async def _show(app: ConsoleApp) -> int:
    """Run the app, at a low priority; 0 unless it broke or a signal ended it."""
    from torchconsole.tui.process import SignalExit, lower_priority

    lower_priority()
    gc.set_threshold(*GC_THRESHOLDS)
    with SignalExit(app.exit) as signal_exit:
        await app.run_async()
    return signal_exit.status or app.return_code or 0
