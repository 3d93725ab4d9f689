"""Options and arguments that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.completion import (
    complete_preset,
    complete_preset_or_run,
    complete_run,
    complete_setting,
)

PresetName = Annotated[
    str,
    typer.Argument(
        metavar="PRESET", help="Preset name, or path of a preset file.", autocompletion=complete_preset
    ),
]
PresetOrRun = Annotated[
    str,
    typer.Argument(
        metavar="PRESET|RUN",
        help="Preset name or path of a preset file; else a run's name, folder, unique prefix or RUN@STEP. A "
        "name that is both means the preset.",
        autocompletion=complete_preset_or_run,
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Run name, folder, unique prefix, or a preset's name (its newest run).",
        autocompletion=complete_run,
    ),
]
RunNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Run names, folders, unique prefixes, or presets' names (their newest runs).",
        autocompletion=complete_run,
    ),
]
RunOrCheckpoint = Annotated[
    str,
    typer.Argument(
        metavar="RUN|CHECKPOINT",
        help="Run name, folder, unique prefix, or a preset's name (its newest run with a checkpoint); "
        "RUN@STEP, RUN@best, RUN@last or a checkpoint folder also work.",
        autocompletion=complete_run,
    ),
]
RunOrExport = Annotated[
    str,
    typer.Argument(
        metavar="RUN|CHECKPOINT|EXPORT",
        help="Run name, folder, unique prefix, or a preset's name (its newest run with a checkpoint); "
        "RUN@STEP, RUN@best, RUN@last, a checkpoint folder or an exported .safetensors file also work.",
        autocompletion=complete_run,
    ),
]
WhichCheckpoint = Annotated[
    Literal["best", "last"],
    typer.Option("--checkpoint", metavar="best|last", help="Checkpoint to use when RUN has no @STEP."),
]
WhichWeights = Annotated[
    Literal["auto", "ema", "model"],
    typer.Option(
        "--weights",
        metavar="auto|ema|model",
        help="Weights to use: ema, model or auto (ema if available).",
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", help="Inputs per batch.")]


def require_device(given: str | None) -> str | None:
    """Return what was given to --device. Raises TorchconsoleError if it is no name of a device."""
    from torchconsole.engine.config.schema import DEVICE_NAME

    if given is not None and not re.search(DEVICE_NAME, given):
        raise TorchconsoleError(f"--device: must be auto, cpu, mps, cuda or cuda:N, got {given!r}")
    return given


OnDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        callback=require_device,
        help="Device to use: cpu, cuda:1, ... (default: the run's device).",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the preset; KEY= removes it. Can be repeated.",
        autocompletion=complete_setting,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the run's preset. Can be repeated.",
        autocompletion=complete_setting,
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return after the first step, and print the run's name.")
]
Headless = Annotated[
    bool, typer.Option("--headless", help="Print progress lines instead of opening the console.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Headless, and print only how the run ends.")]
ProgressAsJson = Annotated[
    bool, typer.Option("--json", help="Headless, and print each evaluation and the end as a line of JSON.")
]
RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir", metavar="DIR", help="Folder of the runs (default: $TORCHCONSOLE_RUNS, else ./runs)."
    ),
]
TrainingDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        callback=require_device,
        help="Device to train on: auto, cpu, mps, cuda or cuda:N (same as --set training.device=DEVICE).",
    ),
]
FromWeights = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN|CHECKPOINT|FILE",
        help="Load these weights first (of a run: its best checkpoint), but no optimizer state.",
    ),
]


PROCESSES = "distributed.processes"


def require_processes(given: str | None) -> str | None:
    """Return what was given to --nproc. Raises TorchconsoleError if it is neither a number nor auto."""
    if given is not None and given != "auto" and not (given.isdecimal() and int(given) >= 1):
        raise TorchconsoleError(f"--nproc {given}: must be auto or a whole number of 1 or more")
    return given


Processes = Annotated[
    str | None,
    typer.Option(
        "--nproc",
        metavar="N|auto",
        callback=require_processes,
        help="Train with N processes of this machine, one on each GPU; auto: one for each free GPU "
        "(same as --set distributed.processes=N).",
    ),
]
PlannedProcesses = Annotated[
    str | None,
    typer.Option(
        "--nproc",
        metavar="N|auto",
        callback=require_processes,
        help="Plan for N processes of this machine, one on each GPU; auto: one for each free GPU "
        "(same as --set distributed.processes=N).",
    ),
]


def with_processes(settings: list[str] | None, nproc: str | None) -> list[str]:
    """Return settings of a preset, and the one that --nproc stands for."""
    return [*(settings or []), *([] if nproc is None else [f"{PROCESSES}={nproc}"])]


Machines = Annotated[
    int,
    typer.Option(
        "--nnodes", metavar="N", help="Train on N machines together; type the same command on each of them."
    ),
]
MeetingPoint = Annotated[
    str,
    typer.Option(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        help="Where the machines meet: the name of one of them, and a free port on it.",
    ),
]
RunNameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Name of the run (default: PRESET-DATE-TIME).")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the preset's Python files without asking.")]
Anyway = Annotated[
    bool, typer.Option("--anyway", help="Start even if the dry run finds errors (see `torchconsole check`).")
]
Overfit = Annotated[
    bool,
    typer.Option("--overfit", help="Also train on one batch, for up to 20 seconds, to see if that works."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
