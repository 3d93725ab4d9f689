"""`torchconsole runs`: every run and where it stands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.text import did_you_mean, printable
from torchconsole.tui.cli.options import AsJson, RunsDir
from torchconsole.tui.cli.output import print_json, print_table
from torchconsole.tui.run_listing import ORDERS, matching, ordered


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="Only runs with it in name, preset, status or host."),
    ] = None,
    sort: Annotated[str, typer.Option("--sort", metavar="BY", help=f"{', '.join(ORDERS)}.")] = "age",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """List the runs, live ones first.

    With --runs-dir those in that folder alone.
    """
    from torchconsole.engine.run.registry import list_runs
    from torchconsole.tui.run_listing import HEADINGS, NUMBERS, run_cells

    if sort not in ORDERS:
        raise TorchconsoleError(f"--sort: unknown order {sort!r}{did_you_mean(sort, ORDERS)}")
    every = list_runs(runs_dir)
    records = ordered(matching(every, words or []), sort)
    now = time.time()
    if as_json:
        print_json([record.to_json() for record in records])
    elif records:
        print_table(HEADINGS, [run_cells(record, now) for record in records], right=NUMBERS)
    elif every:
        print(printable(f"none of {len(every):,} runs matches {' '.join(words or [])}"))
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
