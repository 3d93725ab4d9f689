"""`torchconsole runs`: every run and where it stands."""

from __future__ import annotations

import time

from torchconsole.tui.cli.options import AsJson, RunsDir
from torchconsole.tui.cli.output import print_json, print_table


def runs(as_json: AsJson = False, runs_dir: RunsDir = None) -> int:
    """List the runs, live ones first; with --runs-dir those in that folder alone."""
    from torchconsole.engine.runtime.registry import list_runs
    from torchconsole.tui.run_text import HEADINGS, NUMBERS, run_cells

    records = list_runs(runs_dir)
    now = time.time()
    if as_json:
        print_json([record.to_json() for record in records])
    else:
        print_table(HEADINGS, [run_cells(record, now) for record in records], right=NUMBERS)
    return 0
