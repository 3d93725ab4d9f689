"""`torchconsole metrics`: the logged metrics of runs as a table for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.files import replacing, write_atomically
from torchconsole.engine.text import printable, printable_lines
from torchconsole.tui.cli.named_files import find_runs, output_path
from torchconsole.tui.cli.options import Force, RunNames, RunsDir

if TYPE_CHECKING:
    from torchconsole.tui.metric_rows import Row

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
    """Write every logged value of one or more runs, one row per run and step.

    Works for live runs and for runs of programs too. A row has run, step, epoch, time (seconds since 1970),
    active_seconds (seconds of training so far) and the metrics; what was not logged at that step is empty.
    Values are exact. Parquet requires pyarrow: pip install 'torchconsole[parquet]'.
    """
    from torchconsole.tui import metric_rows

    chosen = form or _format_of(output)
    if chosen == "parquet":
        metric_rows.import_pyarrow()
        if output is None:
            raise TorchconsoleError("--format parquet writes a binary file: name it with -o FILE")
    path = None if output is None else output_path(output, force=force)
    rows = [row for folder in find_runs(runs, runs_dir) for row in metric_rows.read_rows(folder)]
    if path is None:
        print(printable_lines(_text(rows, chosen)), end="")
        return 0
    if chosen == "parquet":
        with replacing(path) as temporary:
            metric_rows.write_parquet(rows, temporary)
    else:
        write_atomically(path, _text(rows, chosen).encode())
    columns = len(metric_rows.columns_of(rows))
    print(printable(f"{path}: {len(rows):,} rows, {columns} columns"))
    return 0


def _format_of(output: Path | None) -> Format:
    match output.suffix.lower() if output else "":
        case ".json":
            return "json"
        case ".parquet":
            return "parquet"
        case _:
            return "csv"


def _text(rows: Sequence[Row], form: Format) -> str:
    from torchconsole.tui import metric_rows

    return metric_rows.to_json(rows) if form == "json" else metric_rows.to_csv(rows)
