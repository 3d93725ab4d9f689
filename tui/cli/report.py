"""Reports that need torch are made by a separate process, because the console never imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from torchconsole.engine.config.import_path import worker_environment
from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.run.memory_kills import read_counters
from torchconsole.engine.run.process_end import failure_reason
from torchconsole.engine.text import printable

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset

Report = TypeVar("Report", bound=BaseModel)


def make_preset_report(kind: type[Report], name: str, preset: Preset, *options: str) -> Report:
    """Make the report `name` about a preset. Raises as `make_report` does."""
    from torchconsole.engine.config.loading import write_preset

    with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
        file = Path(folder, "preset.toml")
        write_preset(preset, file)
        return make_report(kind, name, str(file), *options)


def make_report(kind: type[Report], *arguments: str, stdin: IO[str] | None = None) -> Report:
    """Run the engine's report command and parse the JSON that it prints. Its slow phases go to stderr.

    The command reads `stdin`, or nothing; with `stdin`, it also has the files that a shell has opened.

    Raises TorchconsoleError with the command's own message if the input is wrong, RunError if it crashes.
    """
    kills = read_counters()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(
            report_command(*arguments),
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            env=worker_environment(),
            close_fds=stdin is None,  # a shell writes <(COMMAND) as /dev/fd/N
        ) as process,
    ):
        try:
            report = _read_last_line(process)
            status = process.wait()
        finally:
            process.kill()  # if ctrl+c has interrupted the waiting
        stderr.seek(0)
        errors = stderr.read().strip().splitlines()
    return read_report(kind, report, status, errors, kills)


def report_command(*arguments: str) -> list[str]:
    """Return the engine's command that makes a report."""
    return [sys.executable, "-P", "-m", "torchconsole.engine.analysis.report", *arguments]


def read_report(
    kind: type[Report],
    report: str,
    status: int,
    errors: list[str],
    kills: Mapping[str, int],
    what: str = "the report",
) -> Report:
    """Parse a report, or raise as `make_report` does, from the exit status and the lines on stderr.

    `kills` are the counters of `read_counters` from before the process started.
    """
    if status == 2:
        try:
            raise TorchconsoleError(*json.loads(report))
        except ValueError:  # Python's own exit, for example of a missing module
            raise RunError(f"{what} failed: {errors[-1] if errors else 'exited with status 2'}") from None
    if status:
        raise RunError(f"{what} failed: {failure_reason(status, errors, kills)}")
    if not report.strip():
        raise RunError(f"{what} ended by os._exit without an answer")
    return kind.model_validate_json(report)


def _read_last_line(process: subprocess.Popen[str]) -> str:
    """Return the last line that the process prints, the report. Prints the phases before it."""
    from torchconsole.engine.protocol.events import PhaseChanged
    from torchconsole.tui.cli.progress_lines import PhaseLines

    phases = PhaseLines()
    line = ""
    for line in process.stdout or ():
        try:
            event = PhaseChanged.model_validate_json(line)
        except ValidationError:
            continue  # the report, or something that user code has printed
        if text := phases.line_for(event):
            print(printable(text), file=sys.stderr, flush=True)
    return line
