"""`torchconsole train`: start a run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import RunError
from torchconsole.tui.cli.begin import begin
from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import Detach, Headless, Overrides, PresetName, RunsDir, Trust

WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def train(
    preset: PresetName,
    overrides: Overrides = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="auto, cpu, mps, cuda or cuda:N; as --set training.device=..."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|CHECKPOINT|FILE",
            help="Begin with these weights (a run's best); optimizer and counters start anew.",
        ),
    ] = None,
    detach: Detach = False,
    headless: Headless = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Start a run and open the console on it.

    Without a terminal it prints progress lines.
    """
    from torchconsole.engine.client.launcher import start_run
    from torchconsole.engine.config.preset_index import find_preset
    from torchconsole.engine.run.registry import default_runs_dir

    shorthand = [f"training.device={device}"] if device else []
    if source is not None:
        shorthand.append(f"model.weights={json.dumps(str(_weights(source, runs_dir)))}")
    loaded = choose_preset(preset, [*(overrides or []), *shorthand])
    agree_to_own_code(loaded, trust)
    start = partial(start_run, loaded, find_preset(preset).name, default_runs_dir(runs_dir))
    return begin(start, detach=detach, headless=headless)


def _weights(source: str, runs_dir: Path | None) -> Path:
    """The file, or the checkpoint's folder, that --from means. Raises RunError and CheckpointError."""
    from torchconsole.engine.run.checkpoints import find_target, verified

    file = Path(source).expanduser().absolute()
    if file.is_file():
        return file
    if file.suffix in WEIGHT_SUFFIXES:
        raise RunError(f"--from: there is no file {source}")
    return verified(find_target(source, runs_dir).pick())
