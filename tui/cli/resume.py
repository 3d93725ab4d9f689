"""`torchconsole resume`: continue a run from its last checkpoint, or a new run from an older one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from torchconsole.engine.errors import CheckpointError
from torchconsole.tui.cli.begin import begin
from torchconsole.tui.cli.choosing import agree_to_own_code
from torchconsole.tui.cli.completion import complete_setting
from torchconsole.tui.cli.options import Detach, Headless, RunOrCheckpoint, RunsDir, Trust


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
) -> int:
    """Resume a run from its last checkpoint.

    To extend a finished run, raise training.epochs. Resuming from RUN@STEP starts a new run. Opens the
    console, or prints progress lines if there is no terminal.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.client.launcher import branch_run, resume_run
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.resume_policy import change_preset
    from torchconsole.engine.run.checkpoints import find_target, newest, verified

    target = find_target(run, runs_dir)
    if target.run is None:
        raise CheckpointError(
            f"{run} lies in no run's folder; a new run can begin with its weights: "
            f"torchconsole train PRESET --from {run}"
        )
    preset = read_preset(target.run.preset_file)
    changed = change_preset(preset, changes, load_catalogue()) if changes else None
    agree_to_own_code(changed or preset, trust)
    chosen = target.checkpoint and verified(target.checkpoint)
    if chosen and (chosen != newest(target.run).resolve() or target.run.read_record().is_live):
        start = partial(branch_run, target.run, chosen, changed or preset)
    else:
        start = partial(resume_run, target.run, changed)
    return begin(start, detach=detach, headless=headless)
