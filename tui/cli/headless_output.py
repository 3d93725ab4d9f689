"""What a headless run prints: lines, a live display, JSON or nothing; and at the end how the run ended."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Literal

from torchconsole.engine.text import ascii_json, printable
from torchconsole.tui.cli.outcome import report_outcome
from torchconsole.tui.cli.progress_lines import ProgressJson, ProgressLines

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.protocol.events import Event
    from torchconsole.engine.protocol.messages import Snapshot
    from torchconsole.engine.protocol.run_state import RunState
    from torchconsole.engine.run.folder import RunFolder

HeadlessMode = Literal["progress", "quiet", "json"]


class HeadlessOutput:
    """Prints a line for each event that deserves one."""

    def __init__(self) -> None:
        self._lines = ProgressLines

    def begin(self, folder: RunFolder) -> None:
        """Say which run this is."""
        self.say(printable(f"run {folder.name} in {folder.path}"))

    def attach(self, state: RunState) -> None:
        """Follow a run from its state on."""
        self.progress = self._lines(state)

    def receive(self, event: Event | Snapshot) -> None:
        """Show an event."""
        if (line := self.progress.line_for(event)) is not None:
            self.say(line)

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def close(self) -> None:
        """Leave the terminal to whoever prints next."""

    def end(self, folder: RunFolder, started: StartedRun | None = None) -> int:
        """Print how the run ended, and return the exit status."""
        return report_outcome(folder, started)


class QuietOutput(HeadlessOutput):
    """Prints only how the run ended."""

    def say(self, text: str) -> None:
        """Print nothing."""


class JsonOutput(HeadlessOutput):
    """Prints JSON, one object per line: `run`, `epoch` for each evaluation, messages, and `end`."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = ProgressJson

    def begin(self, folder: RunFolder) -> None:
        """Say which run this is."""
        self._print({"type": "run", "name": folder.name, "folder": str(folder.path)})

    def say(self, text: str) -> None:
        """Print a line: JSON already, or a text."""
        print(text if text.startswith("{") else _as_json({"type": "info", "message": text}), flush=True)

    def end(self, folder: RunFolder, started: StartedRun | None = None) -> int:
        """Print the run's record; what is wrong goes to stderr as text."""
        from torchconsole.engine.run.registry import moved_to

        with redirect_stdout(io.StringIO()):
            status = report_outcome(folder, started)
        folder = moved_to(folder)
        record = folder.read_record().to_json() if folder.run_file.exists() else {"status": "removed"}
        self._print({"type": "end", **record, "exit_status": status})
        return status

    def _print(self, content: dict[str, object]) -> None:
        print(_as_json(content), flush=True)


def make_output(mode: HeadlessMode) -> HeadlessOutput:
    """Return the output of a mode; progress is a live display in a terminal that can show one."""
    if mode == "quiet":
        return QuietOutput()
    if mode == "json":
        return JsonOutput()
    if has_live_terminal():
        from torchconsole.tui.cli.live_display import LiveOutput

        return LiveOutput()
    return HeadlessOutput()


def has_live_terminal() -> bool:
    """Return whether standard output is a terminal in which lines can be drawn again."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _as_json(content: dict[str, object]) -> str:
    return ascii_json(json.dumps(content))
