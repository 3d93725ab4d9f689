"""`torchconsole runs` and `torchconsole delete`: list runs, and delete those that have ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.text import did_you_mean, printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.completion import complete_ended_run
from torchconsole.tui.cli.options import AsJson, RunsDir
from torchconsole.tui.cli.terminal import confirm, has_terminal, print_json, print_table, print_wrapped
from torchconsole.tui.run_filter import matching
from torchconsole.tui.run_listing import (
    HEADINGS,
    NUMBERS,
    ORDERS,
    PROBLEMS,
    ordered,
    problem,
    run_cells,
)
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

DROP_ORDER = ("PRESET", "HOST", "LR", "AGE", "STEP", "BEST", "PROGRESS")
"""Columns that a narrow terminal has no room for, the first to go first. Most names contain the preset."""

LEAST_NAME = 26
"""Cells of a name like digits-mlp-20260102-030405."""


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="List only runs with WORD in their name, preset, title, status, host, tags or note. "
            "Also status:failed, preset:NAME, tag:NAME, or in quotes the comparison of a "
            "metric, step, lr or age with a number.",
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="BY", help=f"Order of the runs: {', '.join(ORDERS)}.")
    ] = "age",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """List runs, live ones first.

    With --runs-dir, lists only the runs in that folder.
    """
    from torchconsole.engine.run.registry import list_runs

    if sort not in ORDERS:
        raise TorchconsoleError(f"--sort: unknown order {sort!r}{did_you_mean(sort, ORDERS)}")
    found = list_runs(runs_dir)
    records = ordered(matching(found, words or []), sort)
    if as_json:
        print_json([record.to_json() for record in records])
    elif records:
        _print_runs(records)
    elif found:
        print(printable(f"none of the {len(found):,} runs matches {' '.join(words or [])}"))
    else:
        print(_no_runs(runs_dir))
    return 0


def delete(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="Run name, folder or unique prefix.", autocompletion=complete_ended_run
        ),
    ],
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also delete the files in the run's folder that are not torchconsole's."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Delete runs that have ended, with their checkpoints.

    Asks before each one. Live runs are never deleted. Files that torchconsole did not write stay where they
    are and are listed. If a deletion was interrupted, delete the run again.
    """
    from torchconsole.engine.run.deletion import delete_run, question
    from torchconsole.engine.run.registry import find_run

    folders = [find_run(run, runs_dir, by_preset="refuse") for run in runs]
    if not yes and not has_terminal():
        raise TorchconsoleError("delete cannot ask for confirmation without a terminal; pass --yes")
    status = 0
    for folder in folders:
        try:
            if yes or confirm(question(folder, everything=everything)):
                print(printable(str(delete_run(folder, everything=everything))))
        except RunError as error:
            status = report_error(str(error), status=1)
    return status


def _print_runs(records: Sequence[RunRecord]) -> None:
    """Print the runs that can be read as a table, and below it a line for each one with a problem.

    Runs that are unreachable for the same reason share a line: a deleted folder may have held many.
    """
    now = time.time()
    readable = [record for record in records if record.status not in PROBLEMS]
    if readable:
        print_table(_columns(), [run_cells(record, now) for record in readable])
    alike: dict[str, list[str]] = {}
    for record in records:
        if record.status == "unreachable" and record.reason.endswith(f" {record.name}"):
            alike.setdefault(record.reason.removesuffix(record.name), []).append(record.name)
        elif record.status in PROBLEMS:
            print_wrapped(f"{record.status}: {record.name}: {problem(record)}")
        elif record.problem:
            print_wrapped(f"{record.name}: {record.status}, but {problem(record)}")
    for reason, names in alike.items():
        which = names[0] if len(names) == 1 else f"{len(names)} runs"
        print_wrapped(printable(f"unreachable: {which}: {reason}{' '.join(names)}"))


def _columns() -> list[Column]:
    ranks = {heading: rank for rank, heading in enumerate(reversed(DROP_ORDER), 1)}
    return [
        Column(
            heading,
            right=index in NUMBERS,
            rank=ranks.get(heading, 0),
            least=LEAST_NAME if heading == "RUN" else 0,
            cut="middle",
        )
        for index, heading in enumerate(HEADINGS)
    ]


def _no_runs(runs_dir: Path | None) -> str:
    """Return the message for an empty list. Raises RunError if `runs_dir` does not exist."""
    if runs_dir is None:
        return "no runs yet; start one with `torchconsole train PRESET`"
    if not runs_dir.is_dir():
        raise RunError(f"--runs-dir: folder {runs_dir} does not exist")
    return printable(f"no runs in {runs_dir}")
