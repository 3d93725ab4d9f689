"""`torchconsole import-run`: take what another tool has recorded into the list of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.engine.user_folders import expand_user
from torchconsole.tui.cli.options import AsJson, RunsDir
from torchconsole.tui.cli.terminal import print_json


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
    'torchconsole[wandb]'. A CSV file has a column for the step, such as step or epoch.
    """
    from torchconsole.engine.protocol.reports import ImportReport
    from torchconsole.engine.run.imports.finding import read_recordings
    from torchconsole.engine.run.imports.writing import write_recording
    from torchconsole.engine.run.registry import default_runs_dir

    found = [recording for path in paths for recording in read_recordings(expand_user(path).absolute())]
    if name and len(found) > 1:
        raise TorchconsoleError(f"--name names one run, but {len(found)} were found")
    reports = []
    for recording in found:
        folder = write_recording(recording, default_runs_dir(runs_dir), name)
        report = ImportReport(
            run=folder.name,
            folder=str(folder.path),
            source=recording.source,
            format=recording.format,
            steps=len(recording.steps),
            metrics=recording.metrics,
        )
        reports.append(report)
        if not as_json:
            shown = ", ".join(report.metrics)
            print(printable(f"imported {report.run}: {report.steps:,} steps of {shown}"))
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    return 0
