"""Reports that need torch: made by a process of their own, since the console never imports it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.runtime.processes import exit_reason

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
    """Run the engine's report command and read the JSON that it prints.

    Raises TorchconsoleError with the command's own words where the input is wrong, RunError where it breaks.
    """
    command = [sys.executable, "-P", "-m", "torchconsole.engine.analysis.report", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode == 2:
        raise TorchconsoleError(*done.stderr.splitlines())
    if done.returncode:
        raise RunError(f"the report failed: {_cause(done)}")
    return kind.model_validate_json(done.stdout)


def _cause(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of the traceback; a process that was killed has left none."""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines and done.returncode > 0 else exit_reason(done.returncode)
