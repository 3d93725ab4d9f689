"""Opens the console, and prints what happened to the run after the console has closed."""

from __future__ import annotations

import asyncio
import codecs
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.text import printable
from torchconsole.tui.cli import report_crash, report_error
from torchconsole.tui.cli.output import CELLS, ESCAPE, replace_by
from torchconsole.tui.cli.terminal import explain_dumb_terminal, has_terminal
from torchconsole.tui.process import configure_for_ssh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.app import ConsoleApp

GC_THRESHOLDS = 10_000, 20, 10
"""With Python's defaults the collector scans the whole console about every ten seconds while much is drawn,
which takes up to a tenth of a second. Almost all cycles are short-lived, except the screens of runs that were
left: the whole console is still scanned about every 50 minutes, or after some forty such screens."""


def open_menu(runs_dir: Path | None) -> int:
    """Show the menu until the user quits, and return the exit status."""
    if not has_terminal():
        explain_dumb_terminal()
        return report_error(
            "the console needs a terminal; `torchconsole --help` lists the commands that work without one"
        )
    configure_for_ssh()
    from torchconsole.tui.app import ConsoleApp

    app = ConsoleApp(runs_dir=runs_dir, **_surroundings())
    status = _show(app)
    if status == 0 and app.return_value is not None:
        _print_if_live(app.return_value)
    return status


def open_run(folder: RunFolder, started: StartedRun | None = None, *, read_only: bool = False) -> int:
    """Show a run until the user leaves it, then print how it ended or how to attach again.

    Returns the exit status. `started` is the run's worker if this process started it. With `read_only`, keys
    cannot change the run.
    """
    configure_for_ssh()
    from torchconsole.tui.app import ConsoleApp
    from torchconsole.tui.cli.outcome import report_outcome

    app = ConsoleApp(folder, started, read_only=read_only, **_surroundings())
    # What is loaded now stays loaded, so the garbage collector need not scan it again.
    gc.freeze()
    status = _show(app)
    if status and started and folder.run_file.exists():
        started.refusal()  # gives a run whose resume was refused its record back
    if app.crash:
        _print_if_live(folder)
    return status or report_outcome(folder, started)


def _surroundings() -> dict[str, Any]:
    """Return the user's settings, and what the terminal's background is."""
    from torchconsole.tui.signs import ascii_encoding, must_be_asked
    from torchconsole.tui.terminal_background import Answer, find_background
    from torchconsole.tui.user_config import load_config

    background = Answer()
    if sys.__stdin__ and sys.__stderr__:
        terminal = sys.__stdin__.fileno(), sys.__stderr__.fileno()
        draws_braille = ascii_encoding() is None and codecs.lookup(sys.__stderr__.encoding).name == "utf-8"
        background = find_background(*terminal, asks_sign=must_be_asked(), asks_repeat=draws_braille)
    return {"config": load_config(), "background": background}


def open_comparison(records: Sequence[RunRecord], runs_dir: Path | None) -> int:
    """Compare runs until the user leaves the console, and return the exit status."""
    configure_for_ssh()
    from torchconsole.tui.app import ConsoleApp
    from torchconsole.tui.screens.compare import CompareScreen

    return _show(ConsoleApp(runs_dir=runs_dir, first_screen=CompareScreen(records)))


def _print_if_live(folder: RunFolder) -> None:
    from torchconsole.engine.run.registry import moved_to
    from torchconsole.tui.cli.outcome import describe_outcome

    folder = moved_to(folder)
    # The user may have deleted the run in the menu.
    if folder.run_file.exists() and (record := folder.read_record()).is_live:
        print(printable(describe_outcome(record)))


def _show(app: ConsoleApp) -> int:
    """Run the app. Returns 0 unless it crashed, which is reported, or a signal ended it."""
    replace_by(CELLS)
    try:
        status = asyncio.run(_run(app))
    finally:
        replace_by(ESCAPE)
    return report_crash(app.crash) if app.crash else status


async def _run(app: ConsoleApp) -> int:
    """Run the app at a low priority."""
    from torchconsole.tui.log_notifications import shown_in
    from torchconsole.tui.process import SignalExit, lower_priority

    lower_priority()
    gc.set_threshold(*GC_THRESHOLDS)
    with SignalExit(app.exit) as signal_exit, shown_in(app):
        await app.run_async(mouse=app.config.mouse)
    app.write_settings()
    return signal_exit.status or app.return_code or 0
