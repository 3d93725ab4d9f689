"""Starts and resumes runs, and makes their screens. Imports what that needs only when it is first used."""

from __future__ import annotations

import asyncio
import gc
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchconsole.engine.client.client import RunClient
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.config.user_imports import UserFile
    from torchconsole.engine.protocol.reports import CheckReport
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.recorded_history import Progress
    from torchconsole.tui.screens.run import RunScreen


def preload() -> None:
    """Import what the run screen, the form and a start need, so that they open without delay later.

    These modules stay loaded, so the garbage collector never has to scan them again.
    """
    for module in ("tui.screens.run", "tui.screens.form", "engine.client.client", "engine.client.launcher"):
        import_module(f"torchconsole.{module}")
    gc.freeze()


def load(preset: PresetEntry, overrides: Sequence[str]) -> tuple[Preset, list[UserFile]]:
    """Load and validate a preset. Return it with the untrusted Python files that it would run.

    Raises TorchconsoleError, OSError.
    """
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import load_preset

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

    if folder.read_record().is_live:
        return []
    return untrusted_files(read_preset(folder.preset_file))


def trust(files: Sequence[UserFile]) -> None:
    """Remember that the user trusts this content of the files."""
    from torchconsole.engine.config.user_code import trust

    for file in files:
        trust(file.path, file.content)


async def check(preset: Preset) -> CheckReport:
    """Check `preset` by a dry run, in a process that ends with this task.

    Raises TorchconsoleError, OSError.
    """
    from torchconsole.engine.config.import_path import worker_environment
    from torchconsole.engine.config.loading import write_preset
    from torchconsole.engine.protocol.reports import CheckReport
    from torchconsole.engine.run.memory_kills import read_counters
    from torchconsole.tui.cli.report import read_report, report_command

    kills = read_counters()
    with TemporaryDirectory(prefix="torchconsole-") as folder:
        file = Path(folder, "preset.toml")
        await asyncio.to_thread(write_preset, preset, file)
        process = await asyncio.create_subprocess_exec(
            *report_command("check", str(file)),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=worker_environment(),
        )
        try:
            output, errors = await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    report = (output.decode(errors="replace").strip().splitlines() or [""])[-1]
    lines = errors.decode(errors="replace").strip().splitlines()
    return read_report(CheckReport, report, await process.wait(), lines, kills)


def start(preset: Preset, name: str, runs_dir: Path | None, anyway: bool = False) -> StartedRun:
    """Start a run of `preset`, in spite of findings if `anyway`. Raises TorchconsoleError."""
    from torchconsole.engine.client.launcher import start_run
    from torchconsole.engine.run.registry import default_runs_dir

    return start_run(preset, name, default_runs_dir(runs_dir), anyway=anyway)


def resume(folder: RunFolder, anyway: bool = False) -> StartedRun | None:
    """Resume a run from its last checkpoint, in spite of findings if `anyway`.

    Return None if it is live already. Raises TorchconsoleError.
    """
    from torchconsole.engine.client.launcher import resume_run

    return None if folder.read_record().is_live else resume_run(folder, anyway=anyway)


def run_screen(folder: RunFolder, started: StartedRun | None, read_only: bool = False) -> RunScreen:
    """Return a run's screen. `started` is its worker if this process has started it."""
    from torchconsole.tui.screens.run import RunScreen

    return RunScreen(partial(_connect, folder, read_only), folder.path, started)


@asynccontextmanager
async def _connect(folder: RunFolder, read_only: bool, progress: Progress) -> AsyncIterator[RunClient]:
    from torchconsole.engine.client.client import connect

    async with connect(folder, read_only=read_only, progress=progress) as client:
        yield client
