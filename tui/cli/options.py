"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

PresetName = Annotated[
    str, typer.Argument(metavar="PRESET", help="A preset's name, or the path of its file.")
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's name, its folder, or the beginning of its name.")
]
RunOrCheckpoint = Annotated[
    str,
    typer.Argument(
        metavar="RUN|CHECKPOINT", help="A run as everywhere; RUN@STEP, RUN@best or a checkpoint's folder."
    ),
]
WhichCheckpoint = Annotated[
    Literal["best", "last"], typer.Option("--checkpoint", help="Which one of a run that is named alone.")
]
WhichWeights = Annotated[
    Literal["auto", "ema", "model"],
    typer.Option("--weights", help="The averaged or the trained ones; auto: the averaged where there are."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the preset, or take it out with KEY=; may be repeated.",
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Print the run's name after its first step and return.")
]
Headless = Annotated[
    bool, typer.Option("--headless", help="Print progress lines instead of opening the console.")
]
RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir", metavar="DIR", help="The folder of the runs; default $TORCHCONSOLE_RUNS or ./runs."
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code of yours that the preset names without asking.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
