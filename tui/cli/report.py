"""Reports that need torch: made by a process of their own, since the console never imports it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.run.liveness import exit_reason
from torchconsole.engine.text import printable
from torchconsole.tui.cli.phases import PhaseLines

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset

Report = TypeVar("Report", bound=BaseModel)


def make_preset_report(kind: type[Report], name: str, preset: Preset) -> Report:
    """The report of this name on a preset. Raises as `make_report` does."""
    from torchconsole.engine.config.loading import write_preset

    with tempfile.TemporaryDirectory(prefix="torchconsole-") as folder:
        file = Path(folder, "preset.toml")
        write_preset(preset, file)
        return make_report(kind, name, str(file))


def make_report(kind: type[Report], *arguments: str) -> Report:
    """Run the engine's report command and read the JSON that it prints; its slow phases are said on stderr.

    Raises TorchconsoleError with the command's own words where the input is wrong, RunError where it breaks.
    """
    command = [sys.executable, "-P", "-m", "torchconsole.engine.analysis.report", *arguments]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            report = _last_line(process)
            status = process.wait()
        finally:
            process.kill()  # where ctrl+c has ended the waiting
        errors.seek(0)
        told = errors.read().strip().splitlines()
    if status == 2:
        raise TorchconsoleError(*told)
    if status:
        # The last line of the traceback; a process that was killed has left none.
        raise RunError(f"the report failed: {told[-1] if told and status > 0 else exit_reason(status)}")
    return kind.model_validate_json(report)


def _last_line(process: subprocess.Popen[str]) -> str:
    """The report that the process prints at last; what it says before is passed on."""
    from torchconsole.engine.protocol.events import PhaseChanged

    phases = PhaseLines()
    found = ""
    for found in process.stdout or ():
        try:
            event = PhaseChanged.model_validate_json(found)
        except ValidationError:
            continue  # the report, or what code of the user's has printed
        if line := phases.line_for(event):
            print(printable(line), file=sys.stderr, flush=True)
    return found
