"""`torchconsole resume`: go on with a run where it stopped."""

from __future__ import annotations

from functools import partial

from torchconsole.tui.cli.begin import begin
from torchconsole.tui.cli.options import Detach, Headless, RunName, RunsDir


def resume(run: RunName, detach: Detach = False, headless: Headless = False, runs_dir: RunsDir = None) -> int:
    """Go on with a run from its last checkpoint.

    Opens the console on it; without a terminal it prints progress lines.
    """
    from torchconsole.engine.runtime.launcher import resume_run
    from torchconsole.engine.runtime.registry import find_run

    return begin(partial(resume_run, find_run(run, runs_dir)), detach=detach, headless=headless)
