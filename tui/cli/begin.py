"""What follows a start or a resume: the console, progress lines, or the run's name and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.terminal import has_terminal
from torchconsole.tui.failed_start import discard_failed_start

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun

Start = Callable[[], "StartedRun"]


def begin(start: Start, *, detach: bool, headless: bool) -> int:
    """Start a run and stay with it in the way that was asked for. Without a terminal that is headless.

    A start that the user's mistake kept from its first step is undone.
    """
    launched: list[StartedRun] = []

    def noted_start() -> StartedRun:
        launched.append(start())
        return launched[0]

    # What was wrong with a start that is undone has been said by then.
    status = _stay(noted_start, detach=detach, headless=headless)
    for run in launched:
        discard_failed_start(run)
    return status


def _stay(start: Start, *, detach: bool, headless: bool) -> int:
    if detach and headless:
        raise TorchconsoleError("choose one of --detach and --headless")
    if detach:
        from torchconsole.tui.cli.detached import start_detached

        return asyncio.run(start_detached(start))
    if headless or not has_terminal():
        from torchconsole.tui.cli.headless import run_headless

        return asyncio.run(run_headless(start))
    from torchconsole.tui.cli.console import open_run

    started = start()
    return open_run(started.folder, started)
