"""`torchconsole train` and `torchconsole resume`: start a worker, then follow the run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.errors import CheckpointError, RunError, TorchconsoleError
from torchconsole.engine.user_folders import expand_user
from torchconsole.tui.cli.machines import start_here
from torchconsole.tui.cli.named_runs import find_target
from torchconsole.tui.cli.options import (
    PROCESSES,
    Anyway,
    Changes,
    Detach,
    FromWeights,
    Headless,
    Machines,
    MeetingPoint,
    Overrides,
    PresetName,
    Processes,
    ProgressAsJson,
    Quiet,
    RunNameOption,
    RunOrCheckpoint,
    RunsDir,
    TrainingDevice,
    Trust,
    with_processes,
)
from torchconsole.tui.cli.presets import load_checked_preset, refuse_options, require_trust
from torchconsole.tui.cli.terminal import explain_dumb_terminal, has_terminal

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.run.folder import RunFolder

WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def train(
    preset: PresetName,
    overrides: Overrides = None,
    device: TrainingDevice = None,
    source: FromWeights = None,
    name: RunNameOption = "",
    nproc: Processes = None,
    nnodes: Machines = 1,
    rdzv_endpoint: MeetingPoint = "",
    detach: Detach = False,
    headless: Headless = False,
    quiet: Quiet = False,
    as_json: ProgressAsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
    anyway: Anyway = False,
) -> int:
    """Start a run and open the console on it.

    Prints progress lines instead if there is no terminal.
    """
    from torchconsole.engine.client.launcher import resume_run, start_run, start_script
    from torchconsole.engine.client.processes import choose_processes
    from torchconsole.engine.client.ranks import join_program, join_ranks, restarted_run
    from torchconsole.engine.config.preset_index import find_preset
    from torchconsole.engine.config.script_presets import load_script, with_agreed_content
    from torchconsole.engine.run.registry import default_runs_dir

    following = Following(detach, headless, quiet, as_json)
    if (script := load_script(preset, overrides or [])) is not None:
        given = {"--device": device, "--from": source, "--anyway": anyway, "--name": name}
        refuse_options(script, given | _sizes(nproc, nnodes, rdzv_endpoint))
        require_trust(script, trust)
        of_preset, runs = find_preset(preset).name, default_runs_dir(runs_dir)
        agreed = join_program(with_agreed_content(script), detach=detach, nproc=nproc)
        return start_and_follow(lambda: start_script(agreed, runs, preset_name=of_preset), following)
    join_ranks(detach=detach, trusts=trust, nproc=nproc)
    shorthand = [f"training.device={device}"] if device else []
    if source is not None:
        shorthand.append(f"model.weights={json.dumps(str(_find_weights(source, runs_dir)))}")
    loaded = load_checked_preset(preset, with_processes([*(overrides or []), *shorthand], nproc))
    runs = default_runs_dir(runs_dir)
    if (restarted := restarted_run(runs)) is not None:
        return start_and_follow(partial(resume_run, restarted, anyway=anyway), following)
    check_free_name(name, runs)
    require_trust(loaded, trust)
    if nnodes != 1 or rdzv_endpoint:
        following.check()
        restarts = loaded.distributed.max_restarts
        processes = choose_processes(loaded, machines=nnodes)
        start_here(sys.argv[1:], nnodes, rdzv_endpoint, processes, restarts, detach=detach)
    of_preset = find_preset(preset).name
    start = partial(start_run, loaded, of_preset, runs, name, anyway=anyway)
    return start_and_follow(start, following)


def resume(
    run: RunOrCheckpoint,
    changes: Changes = None,
    nproc: Processes = None,
    nnodes: Machines = 1,
    rdzv_endpoint: MeetingPoint = "",
    detach: Detach = False,
    headless: Headless = False,
    quiet: Quiet = False,
    as_json: ProgressAsJson = False,
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
    from torchconsole.engine.client.ranks import join_ranks, restarted_run
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.resume_policy import change_preset
    from torchconsole.engine.run.checkpoints import newest, verified
    from torchconsole.engine.run.resume_checks import check_resumable
    from torchconsole.engine.run.script_runs import script_of

    resumed, named = _resumed(run, runs_dir)
    following = Following(detach, headless, quiet, as_json)
    if (script := script_of(resumed)) is not None:
        refuse_options(script, {"--anyway": anyway} | _sizes(nproc, nnodes, rdzv_endpoint))
        if script.sha256:  # it came from the menu
            require_trust(script, trust)
        return _resume_script(resumed, named, script, changes, following, nproc)
    join_ranks(detach=detach, trusts=trust, nproc=nproc)
    restarted = restarted_run(resumed.path.parent)
    if restarted is not None and restarted.path != resumed.path:  # the run that branched off
        return start_and_follow(partial(resume_run, restarted, anyway=anyway), following)
    preset = read_preset(resumed.preset_file)
    changes = with_processes(changes, nproc)
    changed = change_preset(preset, changes, load_catalogue()) if changes else None
    require_trust(changed or preset, trust)
    checkpoint = named and verified(named)
    branches = checkpoint is not None and (
        checkpoint != newest(resumed).resolve() or resumed.read_record().is_live
    )
    if nnodes != 1 or rdzv_endpoint:
        following.check()
        if not branches:
            check_resumable(resumed, changed)
        _resume_here(resumed, changed or preset, nnodes, rdzv_endpoint, detach=detach)
    takes_fewer = not any(change.partition("=")[0].strip() == PROCESSES for change in changes)
    options = {"anyway": anyway, "takes_fewer": takes_fewer}
    if checkpoint is not None and branches:
        start = partial(branch_run, resumed, checkpoint, changed or preset, **options)
    else:
        start = partial(resume_run, resumed, changed, **options)
    return start_and_follow(start, following)


def _resumed(name: str, runs_dir: Path | None) -> tuple[RunFolder, Path | None]:
    """Return the run that a name means, and its checkpoint if the name says which. Raises CheckpointError."""
    target = find_target(name, runs_dir, "resume")
    if target.run is None:
        raise CheckpointError(
            f"{name} is not in a run's folder and cannot be resumed; to start a new run with its weights: "
            f"torchconsole train PRESET --from {name}"
        )
    return target.run, target.checkpoint


def _resume_here(run: RunFolder, preset: Preset, nnodes: int, rdzv_endpoint: str, *, detach: bool) -> None:
    """Do this machine's part of a resume on several machines; return only by an exception."""
    from torchconsole.engine.client.processes import choose_processes
    from torchconsole.engine.run.trained_batch import trained_batch

    trained = trained_batch(run.read_record(), run)
    processes = choose_processes(preset, trained=trained, machines=nnodes)
    restarts = preset.distributed.max_restarts
    start_here(sys.argv[1:], nnodes, rdzv_endpoint, processes, restarts, detach=detach)


def _sizes(nproc: str | None, nnodes: int, rdzv_endpoint: str) -> dict[str, object]:
    """Return the options for a training by several processes, with whether they were given."""
    return {"--nproc": nproc is not None, "--nnodes": nnodes != 1, "--rdzv-endpoint": rdzv_endpoint}


def _resume_script(
    run: RunFolder,
    named: Path | None,
    script: Script,
    changes: list[str] | None,
    following: Following,
    nproc: str | None,
) -> int:
    """Resume a program of the user's own, and say so if its file has changed."""
    from torchconsole.engine.client.launcher import branch_script, resume_run
    from torchconsole.engine.client.ranks import join_program
    from torchconsole.engine.run.checkpoints import newest, verified
    from torchconsole.engine.run.own_programs import changed_file

    joined = join_program(script, detach=following.detach, nproc=nproc, resumes=True)
    if joined.processes != script.processes:
        raise RunError(f"{run.name}: {script.processes} processes have run its program; start as many")
    if changes:
        raise TorchconsoleError(
            f"--set {changes[0]}: {run.name} is a program ({script.title}), which has no keys; edit its file"
        )
    if file := changed_file(run):
        print(f"torchconsole: {file} has changed since the run began", file=sys.stderr)
    checkpoint = named and verified(named)
    if checkpoint and (checkpoint != newest(run).resolve() or run.read_record().is_live):
        return start_and_follow(partial(branch_script, run, checkpoint, script), following)
    return start_and_follow(partial(resume_run, run), following)


@dataclass(frozen=True)
class Following:
    """How a started run is followed. `quiet` and `as_json` are headless too."""

    detach: bool
    headless: bool
    quiet: bool
    as_json: bool

    def check(self) -> None:
        """Raise TorchconsoleError if two of the options exclude each other."""
        given = {"--detach": self.detach, "--headless": self.headless and self.detach}
        given |= {"--quiet": self.quiet, "--json": self.as_json}
        names = [name for name, is_given in given.items() if is_given]
        if len(names) > 1:
            raise TorchconsoleError(f"{names[0]} and {names[1]} exclude each other; use one of them")


def start_and_follow(start: Callable[[], StartedRun], follow: Following) -> int:
    """Start a run, follow it as requested (headless if there is no terminal), and return the exit status."""
    follow.check()

    def start_noting() -> StartedRun:
        started = start()
        if started.note:
            print(f"torchconsole: {started.note}", file=sys.stderr)
        return started

    if follow.detach:
        from torchconsole.tui.cli.unattended import run_detached

        return asyncio.run(run_detached(start_noting))
    wants_console = not (follow.headless or follow.quiet or follow.as_json)
    if wants_console and has_terminal():
        from torchconsole.tui.cli.console import open_run

        started = start_noting()
        return open_run(started.folder, started)
    from torchconsole.tui.cli.headless_output import make_output
    from torchconsole.tui.cli.unattended import run_headless

    if wants_console:
        explain_dumb_terminal()
    output = make_output("quiet" if follow.quiet else "json" if follow.as_json else "progress")
    return asyncio.run(run_headless(start_noting, output))


def check_free_name(name: str, runs_dir: Path) -> None:
    """Raise RunError if a new run cannot be called `name`; without a name it can."""
    from torchconsole.engine.run.renaming import check_new_name

    if not name:
        return
    try:
        check_new_name(name)
    except RunError as error:
        raise RunError(f"--name {name}: {error}") from error
    if os.path.lexists(runs_dir / name):
        raise RunError(
            f"--name {name}: exists already in {runs_dir}; take another name, or continue this run with "
            f"`torchconsole resume {name}`"
        )


def _find_weights(source: str, runs_dir: Path | None) -> Path:
    """Return the file or the checkpoint folder that --from names. Raises RunError, CheckpointError."""
    from torchconsole.engine.run.checkpoints import verified

    file = expand_user(source).absolute()
    if file.is_file():
        return file
    if file.suffix in WEIGHT_SUFFIXES:
        raise RunError(f"--from: file {source} does not exist")
    return verified(find_target(source, runs_dir, "take the weights of").pick())
