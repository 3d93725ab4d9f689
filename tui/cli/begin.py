"""What follows a start or a resume: the console, progress lines, or the run's name and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.terminal import has_terminal

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun

Start = Callable[[], "StartedRun"]


def begin(start: Start, *, detach: bool, headless: bool) -> int:
    """Start a run and follow it as requested, and return the exit status. Headless without a terminal."""
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
