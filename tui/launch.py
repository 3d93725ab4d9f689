"""Starts and resumes runs, and makes their screens. Imports what that needs only when it is first used."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from torchconsole.engine.errors import PresetError, RunError, TrustError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from torchconsole.engine.client.client import RunClient
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.config.program_arguments import ProgramArguments
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.config.user_imports import UserFile
    from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
    from torchconsole.engine.protocol.finder_reports import Search
    from torchconsole.engine.protocol.reports import CheckReport, LearningRateCurve, TrainingSamples
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.recorded_history import Progress
    from torchconsole.tui.finders import Finder
    from torchconsole.tui.screens.run import RunScreen

ARGUMENTS_SECONDS = 60.0
"""How long a program may take to parse its arguments; its imports take the most of it."""

CHUNK_BYTES = 1 << 16

Report = TypeVar("Report", bound="BaseModel")


def preload() -> None:
    """Import what the run screen, the form and a start need, so that they open without delay later.

    These modules stay loaded, so the garbage collector never has to scan them again.
    """
    for module in ("tui.screens.run", "tui.screens.form", "engine.client.client", "engine.client.launcher"):
        import_module(f"torchconsole.{module}")
    gc.freeze()


def load(preset: PresetEntry, overrides: Sequence[str]) -> tuple[Preset | Script, list[UserFile]]:
    """Load and validate a preset. Return it with the untrusted Python files that it would run.

    Raises TorchconsoleError, OSError.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import load_preset
    from torchconsole.engine.config.script_presets import load_script, untrusted_script

    if (script := load_script(str(preset.path), overrides)) is not None:
        return script, untrusted_script(script)
    loaded = load_preset(str(preset.path), overrides, load_catalogue())
    return loaded, untrusted_files(loaded)


def untrusted_files(preset: Preset) -> list[UserFile]:
    """Return the untrusted Python files that a preset would run. Raises TorchconsoleError."""
    from torchconsole.engine.config.user_code import untrusted_files

    return untrusted_files(preset.model_dump())


def untrusted_files_of_run(folder: RunFolder) -> list[UserFile]:
    """Return the untrusted Python files that a resume of a run would run; none if it is live already.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.script_presets import untrusted_script
    from torchconsole.engine.run.script_runs import refuse_script, script_of

    if folder.read_record().is_live:
        return []
    refuse_script(folder, "resume")
    if (script := script_of(folder)) is not None:
        # One that was typed on a command line is run like `python SCRIPT`.
        return untrusted_script(script) if script.sha256 else []
    return untrusted_files(read_preset(folder.preset_file))


def is_program(folder: RunFolder) -> bool:
    """Whether a run is one of a program of the user's own."""
    from torchconsole.engine.run.script_runs import script_of

    return script_of(folder) is not None


def trust(files: Sequence[UserFile]) -> None:
    """Remember that the user trusts this content of the files."""
    from torchconsole.engine.config.user_code import trust

    for file in files:
        trust(file.path, file.content)


async def check(preset: Preset | Script) -> CheckReport | ProgramArguments:
    """Check `preset` by a dry run, a program by its parser, in a process that ends with this task.

    Raises TorchconsoleError, OSError.
    """
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.protocol.reports import CheckReport

    if isinstance(preset, Script):
        return await program_arguments(preset)
    return await _preset_report(CheckReport, "check", preset)


async def samples(preset: Preset | Script) -> TrainingSamples:
    """Read a training batch of `preset`, in a process that ends with this task.

    Raises TorchconsoleError, also for a program, and OSError.
    """
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.protocol.reports import TrainingSamples

    if isinstance(preset, Script):
        raise PresetError(f"{preset.name} is a program, which reads its own data")
    return await _preset_report(TrainingSamples, "samples", preset)


async def lr_curve(preset_file: Path, overrides: Sequence[str]) -> LearningRateCurve:
    """Compute the lr of a preset with changes, in a process that ends with this task.

    Raises TorchconsoleError, also for user code that is not trusted yet, and OSError.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import load_preset
    from torchconsole.engine.protocol.reports import LearningRateCurve

    def loaded_preset() -> Preset:
        loaded = load_preset(str(preset_file), overrides, load_catalogue())
        if files := untrusted_files(loaded):
            raise TrustError(f"{files[0].path} is not trusted yet")
        return loaded

    return await _preset_report(LearningRateCurve, "lr", await asyncio.to_thread(loaded_preset))


def extension(folder: RunFolder, settings: str) -> Preset:
    """Return the preset with which a finished run is extended, as `resume --set` does.

    `settings` are a number of epochs to add, changes as `key=value`, or both. Raises TorchconsoleError with
    the messages of the command line.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.resume_policy import change_preset
    from torchconsole.engine.run.resume_checks import check_unfinished, spent_by
    from torchconsole.engine.run.script_runs import refuse_script

    refuse_script(folder, "extend")
    record = folder.read_record()
    spent = spent_by(record, folder)
    changes: list[str] = []
    for word in settings.split():
        if word.isdecimal() and int(word) > 0:
            changes.append(f"training.epochs={spent.epochs + int(word)}")
        elif "=" in word:
            changes.append(word)
        else:
            raise RunError(f"{word}: type a number of epochs above 0, or a change as key=value")
    if not changes:
        raise RunError("type how many more epochs to train")
    preset = change_preset(read_preset(folder.preset_file), changes, load_catalogue())
    check_unfinished(record.name, preset, spent)
    return preset


def suggested_extension(folder: RunFolder) -> str:
    """Return a line for `extension` with which a finished run goes on: epochs to add, and other limits.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.run.resume_checks import reached_limits, spent_by

    preset, spent = read_preset(folder.preset_file), spent_by(folder.read_record(), folder)
    reached = {each.key: each.raised for each in reached_limits(preset, spent)}
    planned = preset.training.epochs - spent.epochs
    epochs = planned if planned > 0 else max(1, spent.epochs)
    changes = [f"{key}={value}" for key, value in reached.items() if key != "training.epochs"]
    return " ".join([str(epochs), *changes])


async def extended_lr(folder: RunFolder, preset: Preset) -> LearningRateCurve:
    """Compute the lr that a run would have if it were resumed with `preset`, in a process of its own.

    Raises TorchconsoleError, OSError.
    """
    from torchconsole.engine.protocol.reports import LearningRateCurve

    return await _preset_report(LearningRateCurve, "extended-lr", preset, str(folder.path))


async def search(
    finder: Finder, preset: Preset, on_phase: ReportPhase, checkpoint: Path | None = None
) -> Search:
    """Make a finder's search for a preset, in a process that ends with this task.

    From the weights of a checkpoint if there is one. `on_phase` receives its progress. Raises
    TorchconsoleError, OSError.
    """
    arguments = (*finder.options, *([str(checkpoint)] if checkpoint else []))
    return await _preset_report(finder.report, finder.name, preset, *arguments, on_phase=on_phase)


async def _preset_report(
    kind: type[Report], name: str, preset: Preset, *options: str, on_phase: ReportPhase | None = None
) -> Report:
    """Make a report about a preset, in a process that ends with this task."""
    from torchconsole.engine.config.loading import write_preset

    with TemporaryDirectory(prefix="torchconsole-") as folder:
        file = Path(folder, "preset.toml")
        await asyncio.to_thread(write_preset, preset, file)
        return await report(kind, name, str(file), *options, on_phase=on_phase)


async def report(kind: type[Report], *arguments: str, on_phase: ReportPhase | None = None) -> Report:
    """Have a process that ends with this task make a report. Raises TorchconsoleError, OSError."""
    from torchconsole.tui.cli.report import report_command

    return await _report_of(kind, report_command(*arguments), PIPE, "the report", on_phase)


async def program_arguments(script: Script) -> ProgramArguments:
    """Have a process find the arguments of a program: it runs the program until it parses them.

    The user must have agreed to the program. Raises TorchconsoleError, OSError.
    """
    from torchconsole.engine.config.program_arguments import ProgramArguments
    from torchconsole.engine.config.script import write_script
    from torchconsole.engine.config.script_presets import with_agreed_content

    with TemporaryDirectory(prefix="torchconsole-") as folder:
        file = Path(folder, "preset.toml")
        write_script(await asyncio.to_thread(with_agreed_content, script), file)
        command = [sys.executable, "-P", "-m", "torchconsole.engine.worker.arguments", str(file)]
        try:
            async with asyncio.timeout(ARGUMENTS_SECONDS):
                asked = f"{script.name}, asked for its arguments,"
                return await _report_of(ProgramArguments, command, DEVNULL, asked)
        except TimeoutError as error:
            raise RunError(
                f"{script.name} has not parsed its arguments within {ARGUMENTS_SECONDS:.0f} s and was ended; "
                "it can be started all the same, with the words in script.args"
            ) from error


async def _report_of(
    kind: type[Report],
    command: Sequence[str],
    stderr: int,
    what: str,
    on_phase: ReportPhase | None = None,
) -> Report:
    """Return the report that a command makes. If this task ends early, so do all processes of the command."""
    from torchconsole.engine.config.import_path import worker_environment
    from torchconsole.engine.run.memory_kills import read_counters
    from torchconsole.tui.cli.report import read_report

    kills = read_counters()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL, stdout=PIPE, stderr=stderr, env=worker_environment(), start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = await _output_of(process, on_phase)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    made = (output.decode(errors="replace").strip().splitlines() or [""])[-1]
    lines = (errors or b"").decode(errors="replace").strip().splitlines()
    return read_report(kind, made, await process.wait(), lines, kills, what)


async def _output_of(process: Process, on_phase: ReportPhase | None) -> tuple[bytes, bytes]:
    """Return what a process writes to stdout and stderr until it ends; report its phases at once."""
    if on_phase is None or process.stdout is None or process.stderr is None:
        output, errors = await process.communicate()
        return output, errors or b""
    last = rest = b""
    async with asyncio.TaskGroup() as tasks:
        errors_read = tasks.create_task(process.stderr.read())
        while chunk := await process.stdout.read(CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(None, lines):
                last = line
                if (phase := _phase_in(line)) is not None:
                    on_phase(phase)
    return last + b"\n" + rest, errors_read.result()


def _phase_in(line: bytes) -> PhaseChanged | None:
    """Return the phase that a line of a report's output is about; None for the report itself."""
    from pydantic import ValidationError

    from torchconsole.engine.protocol.events import PhaseChanged

    try:
        return PhaseChanged.model_validate_json(line)
    except ValidationError:
        return None


def start(preset: Preset | Script, name: str, runs_dir: Path | None, anyway: bool = False) -> StartedRun:
    """Start a run of `preset`, in spite of findings if `anyway`. Raises TorchconsoleError."""
    from torchconsole.engine.client.launcher import start_run, start_script
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.config.script_presets import with_agreed_content
    from torchconsole.engine.run.registry import default_runs_dir

    if isinstance(preset, Script):
        return start_script(with_agreed_content(preset), default_runs_dir(runs_dir), preset_name=name)
    return start_run(preset, name, default_runs_dir(runs_dir), anyway=anyway)


def resume(folder: RunFolder, anyway: bool = False, preset: Preset | None = None) -> StartedRun | None:
    """Resume a run from its last checkpoint, with another `preset` if given, despite findings if `anyway`.

    Return None if it is live already. Raises TorchconsoleError.
    """
    from torchconsole.engine.client.launcher import resume_run

    return None if folder.read_record().is_live else resume_run(folder, preset, anyway=anyway)


def load_for_branch(folder: RunFolder, overrides: Sequence[str]) -> tuple[Preset | Script, list[UserFile]]:
    """Return a run's preset with changes, and the untrusted Python files that it would run.

    Raises TorchconsoleError, also for a change that a resume does not allow.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.config.resume_policy import change_preset
    from torchconsole.engine.config.script_presets import load_script, untrusted_script
    from torchconsole.engine.run.script_runs import script_of

    if (recorded := script_of(folder)) is not None:
        script = load_script(str(folder.preset_file), overrides) or recorded
        files = untrusted_script(script) if recorded.sha256 else []
        return replace(script, sha256=recorded.sha256), files
    preset = read_preset(folder.preset_file)
    changed = change_preset(preset, overrides, load_catalogue()) if overrides else preset
    return changed, untrusted_files(changed)


def branch(
    folder: RunFolder, checkpoint: Path, preset: Preset | Script, as_new: bool, anyway: bool = False
) -> StartedRun:
    """Resume from a checkpoint: in a new run, unless it is the newest of an ended run and not `as_new`.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.client.launcher import branch_run, branch_script, resume_run
    from torchconsole.engine.config.script import Script
    from torchconsole.engine.run.checkpoints import newest, verified

    found = verified(checkpoint)
    if not as_new and found == newest(folder).resolve() and not folder.read_record().is_live:
        return resume_run(folder, anyway=anyway)
    if isinstance(preset, Script):
        return branch_script(folder, found, preset)
    return branch_run(folder, found, preset, anyway=anyway)


def run_screen(folder: RunFolder, started: StartedRun | None, read_only: bool = False) -> RunScreen:
    """Return a run's screen. `started` is its worker if this process has started it."""
    from torchconsole.tui.screens.run import RunScreen

    return RunScreen(partial(_connect, folder, read_only), folder.path, started)


@asynccontextmanager
async def _connect(folder: RunFolder, read_only: bool, progress: Progress) -> AsyncIterator[RunClient]:
    from torchconsole.engine.client.client import connect

    async with connect(folder, read_only=read_only, progress=progress) as client:
        yield client
