"""`torchconsole train` and `torchconsole resume`: start a worker, then follow the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import CheckpointError, RunError, TorchconsoleError
from torchconsole.engine.user_folders import expand_user
from torchconsole.tui.cli.completion import complete_setting
from torchconsole.tui.cli.options import (
    Anyway,
    Detach,
    Headless,
    Overrides,
    PresetName,
    RunOrCheckpoint,
    RunsDir,
    Trust,
)
from torchconsole.tui.cli.presets import load_checked_preset, require_trust
from torchconsole.tui.cli.terminal import has_terminal

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun

WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def train(
    preset: PresetName,
    overrides: Overrides = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="Device to train on: auto, cpu, mps, cuda or cuda:N (same as --set training.device=DEVICE).",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|CHECKPOINT|FILE",
            help="Load these weights first (of a run: its best checkpoint), but no optimizer state.",
        ),
    ] = None,
    detach: Detach = False,
    headless: Headless = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
    anyway: Anyway = False,
) -> int:
    """Start a run and open the console on it.

    Prints progress lines instead if there is no terminal.
    """
    from torchconsole.engine.client.launcher import start_run
    from torchconsole.engine.config.preset_index import find_preset
    from torchconsole.engine.run.registry import default_runs_dir

    shorthand = [f"training.device={device}"] if device else []
    if source is not None:
        shorthand.append(f"model.weights={json.dumps(str(_find_weights(source, runs_dir)))}")
    loaded = load_checked_preset(preset, [*(overrides or []), *shorthand])
    require_trust(loaded, trust)
    start = partial(start_run, loaded, find_preset(preset).name, default_runs_dir(runs_dir), anyway=anyway)
    return _start_and_follow(start, detach=detach, headless=headless)


def resume(
    run: RunOrCheckpoint,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key of the run's preset. Can be repeated.",
            autocompletion=complete_setting,
        ),
    ] = None,
    detach: Detach = False,
    headless: Headless = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
    anyway: Anyway = False,
) -> int:
    """Resume a run from its last checkpoint.

    To extend a finished run, raise training.epochs. Resuming from RUN@STEP starts a new run. Prints progress
    lines instead of opening the console if there is no terminal.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.client.launcher import branch_run, resume_run
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.resume_policy import change_preset
    from torchconsole.engine.run.checkpoints import find_target, newest, verified

    target = find_target(run, runs_dir)
    if target.run is None:
        raise CheckpointError(
            f"{run} is not in a run's folder and cannot be resumed; to start a new run with its weights: "
            f"torchconsole train PRESET --from {run}"
        )
    preset = read_preset(target.run.preset_file)
    changed = change_preset(preset, changes, load_catalogue()) if changes else None
    require_trust(changed or preset, trust)
    checkpoint = target.checkpoint and verified(target.checkpoint)
    if checkpoint and (checkpoint != newest(target.run).resolve() or target.run.read_record().is_live):
        start = partial(branch_run, target.run, checkpoint, changed or preset, anyway=anyway)
    else:
        start = partial(resume_run, target.run, changed, anyway=anyway)
    return _start_and_follow(start, detach=detach, headless=headless)


def _start_and_follow(start: Callable[[], StartedRun], *, detach: bool, headless: bool) -> int:
    """Start a run, follow it as requested (headless if there is no terminal), and return the exit status."""
    if detach and headless:
        raise TorchconsoleError("--detach and --headless exclude each other; use one of them")
    if detach:
        from torchconsole.tui.cli.unattended import run_detached

        return asyncio.run(run_detached(start))
    if headless or not has_terminal():
        from torchconsole.tui.cli.unattended import run_headless

        return asyncio.run(run_headless(start))
    from torchconsole.tui.cli.console import open_run

    started = start()
    return open_run(started.folder, started)


def _find_weights(source: str, runs_dir: Path | None) -> Path:
    """Return the file or the checkpoint folder that --from names. Raises RunError, CheckpointError."""
    from torchconsole.engine.run.checkpoints import find_target, verified

    file = expand_user(source).absolute()
    if file.is_file():
        return file
    if file.suffix in WEIGHT_SUFFIXES:
        raise RunError(f"--from: file {source} does not exist")
    return verified(find_target(source, runs_dir).pick())
