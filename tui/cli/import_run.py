"""`torchconsole import-run`: take what another tool has recorded into the list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.text import counted
from torchconsole.engine.user_folders import expand_user
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.named_files import shown_path
from torchconsole.tui.cli.options import AsJson, RunsDir
from torchconsole.tui.cli.terminal import print_json, print_wrapped

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import ImportedRun, ImportReport
    from torchconsole.engine.run.imports.recording import Recording


def import_run(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|FOLDER",
            help="Event file of TensorBoard, .wandb file or CSV file; or a folder with such files.",
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the run (default: that in the file).")
    ] = "",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Import runs of TensorBoard, wandb or CSV.

    Each becomes a run that has finished, and that can be looked at and compared, but not resumed. The files
    stay as they are. TensorBoard's files require pip install 'torchconsole[tensorboard]', those of wandb
    'torchconsole[wandb]'. A CSV file has a column for the step, such as step or epoch. Prints which metrics
    are called otherwise here, and what was left out.
    """
    from torchconsole.engine.protocol.reports import ImportReport

    report = ImportReport()
    found = [recording for path in paths for recording in _read(expand_user(path).absolute(), report)]
    if name and len(found) > 1:
        raise TorchconsoleError(f"--name names one run, but {len(found)} were found")
    for recording in found:
        _write(recording, runs_dir, name, report)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _print_runs(report.runs)
    for each in report.failed:
        report_error(each.reason)
    if not report.failed:
        return 0
    return 1 if report.runs else 2


def _read(path: Path, report: ImportReport) -> list[Recording]:
    """Return the runs in a file or folder; the reason why there are none is added to the report."""
    from torchconsole.engine.protocol.model_reports import UnreadInput
    from torchconsole.engine.run.imports.finding import read_recordings

    try:
        return read_recordings(path)
    except (RunError, OSError) as error:
        reason = str(error) if isinstance(error, RunError) else f"{path}: {error.strerror}"
        report.failed.append(UnreadInput(file=str(path), reason=reason))
        return []


def _write(recording: Recording, runs_dir: Path | None, name: str, report: ImportReport) -> None:
    """Write a run, and add it to the report, or the reason why it cannot be written."""
    from torchconsole.engine.protocol.model_reports import UnreadInput
    from torchconsole.engine.protocol.reports import ImportedRun
    from torchconsole.engine.run.imports.writing import write_recording
    from torchconsole.engine.run.registry import default_runs_dir

    try:
        folder = write_recording(recording, default_runs_dir(runs_dir), name)
    except RunError as error:
        report.failed.append(UnreadInput(file=recording.source, reason=str(error)))
        return
    imported = ImportedRun(
        run=folder.name,
        folder=str(folder.path),
        source=recording.source,
        format=recording.format,
        steps=len(recording.steps),
        metrics=recording.metrics,
        renamed=recording.renamed,
        separator=recording.separator,
        notes=recording.notes.lines,
    )
    report.runs.append(imported)


def _print_runs(runs: Sequence[ImportedRun]) -> None:
    """Print the runs, and what was renamed, left out or changed: of several runs in a file once."""
    for run, following in zip_longest(runs, runs[1:]):
        print_wrapped(f"imported {run.run}: {counted(run.steps, 'step')} of {', '.join(run.metrics)}")
        if following is not None and following.source == run.source:
            continue
        if run.separator:
            print_wrapped(f"  columns of {shown_path(run.source)} are separated by {run.separator}")
        if run.renamed:
            pairs = (f"{theirs} is {ours}" for theirs, ours in run.renamed.items())
            print_wrapped(f"  renamed: {', '.join(pairs)}")
        for note in run.notes:
            print_wrapped(f"  {note}")
