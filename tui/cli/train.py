"""`torchconsole train`: start a run."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from torchconsole.tui.cli.begin import begin_new
from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import Detach, Headless, Overrides, PresetName, RunsDir, Trust


def train(
    preset: PresetName,
    overrides: Overrides = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="auto, cpu, mps, cuda or cuda:N; as --set training.device=..."),
    ] = None,
    detach: Detach = False,
    headless: Headless = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Start a run and open the console on it.

    Without a terminal it prints progress lines.
    """
    from torchconsole.engine.config.library import find_preset
    from torchconsole.engine.runtime.launcher import start_run
    from torchconsole.engine.runtime.registry import default_runs_dir

    shorthand = [f"training.device={device}"] if device else []
    loaded = choose_preset(preset, [*(overrides or []), *shorthand])
    agree_to_own_code(loaded, trust)
    start = partial(start_run, loaded, find_preset(preset).name, default_runs_dir(runs_dir))
    return begin_new(start, detach=detach, headless=headless)
