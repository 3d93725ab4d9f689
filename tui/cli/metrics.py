"""`torchconsole metrics`: the logged metrics of runs as a table for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.files import replacing
from torchconsole.engine.text import counted, printable
from torchconsole.tui.cli.named_files import output_path
from torchconsole.tui.cli.named_runs import find_runs
from torchconsole.tui.cli.options import Force, RunNames, RunsDir

Format = Literal["csv", "json", "parquet"]


def metrics(
    runs: RunNames,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="csv|json|parquet",
            help="Format of the table (default: the suffix of FILE, else csv).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Output file (default: print the table)."),
    ] = None,
    force: Force = False,
    runs_dir: RunsDir = None,
) -> int:
    """Write every value that runs have logged as a table.

    A row is a step of a run, of a live one and of a program too: run, step, epoch, time (seconds since 1970),
    active_seconds (of training so far) and the metrics; what was not logged at that step is empty. Values are
    exact. Parquet requires pyarrow: pip install 'torchconsole[parquet]'.
    """
    from torchconsole.engine.run.metric_rows import MetricRows
    from torchconsole.tui.cli.metric_tables import MetricTable, import_pyarrow

    chosen = form or _format_of(output)
    if chosen == "parquet":
        import_pyarrow()
        if output is None:
            raise TorchconsoleError("--format parquet writes a binary file: name it with -o FILE")
    path = None if output is None else output_path(output, force=force)
    table = MetricTable([MetricRows.survey(folder) for folder in find_runs(runs, runs_dir)])
    if path is None:
        table.print(chosen, sys.stdout)
        return 0
    with replacing(path) as temporary:
        table.write(chosen, temporary)
    print(printable(f"{path}: {counted(table.count, 'row')}, {counted(len(table.columns), 'column')}"))
    return 0


def _format_of(output: Path | None) -> Format:
    match output.suffix.lower() if output else "":
        case ".json":
            return "json"
        case ".parquet":
            return "parquet"
        case _:
            return "csv"
