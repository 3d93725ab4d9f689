"""`torchconsole runs`: every run and where it stands."""

from __future__ import annotations

import time
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.tui.cli.options import AsJson, RunsDir
from torchconsole.tui.cli.output import print_json, print_table
from torchconsole.tui.printable import printable


def runs(as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """List the runs, live ones first.

    With --runs-dir those in that folder alone.
    """
    from torchconsole.engine.runtime.registry import list_runs
    from torchconsole.tui.run_text import HEADINGS, NUMBERS, run_cells

    records = list_runs(runs_dir)
    now = time.time()
    if as_json:
        print_json([record.to_json() for record in records])
    elif records:
        print_table(HEADINGS, [run_cells(record, now) for record in records], right=NUMBERS)
    else:
        print(_absence(runs_dir))
    return 0


def _absence(runs_dir: Path | None) -> str:
    """That there are no runs. Raises RunError where there is no folder for them either."""
    if runs_dir is None:
        return "no runs yet; start one with torchconsole train PRESET"
    if not runs_dir.is_dir():
        raise RunError(f"there is no folder {runs_dir}")
    return printable(f"no runs in {runs_dir}")
