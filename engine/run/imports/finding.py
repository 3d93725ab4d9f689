"""Finds what can be imported in a file or a folder."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import exists
from torchconsole.engine.run.imports.csv_table import read_csv
from torchconsole.engine.run.imports.event_files import EVENTS, read_event_files
from torchconsole.engine.run.imports.recording import Recording
from torchconsole.engine.run.imports.wandb_file import read_wandb


def read_recordings(path: Path) -> list[Recording]:
    """Read the runs in a file, or in all files of a folder and the folders in it.

    CSV files count in a folder only if it has nothing else, since other tools write tables too. Raises
    RunError if there is nothing to import, and OSError.
    """
    if not exists(path):
        raise RunError(f"{path}: no such file or folder")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    events = list(
        dict.fromkeys(file.parent if path.is_dir() else file for file in files if EVENTS in file.name)
    )
    wandb = [file for file in files if file.suffix == ".wandb"]
    tables = [file for file in files if file.suffix.lower() == ".csv"]
    found = read_event_files(events) + [read_wandb(file) for file in wandb]
    if not events and not wandb:
        found = [recording for file in tables for recording in read_csv(file)]
    filled = [recording for recording in found if recording.steps]
    if filled:
        for recording in found:
            if not recording.steps:
                recording.notes.add("run", "left out, without values by step", recording.name)
        return filled
    if events or wandb or tables:
        notes = dict.fromkeys(line for recording in found for line in recording.notes.lines)
        raise RunError("; ".join((f"{path}: has no values that were logged by step", *notes)))
    raise RunError(f"{path}: has no event files of TensorBoard, .wandb files or .csv files")
