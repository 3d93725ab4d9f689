"""The menu's header, and the preview in one line for small terminals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width
from torchconsole.tui.widgets.preset_preview import short_path
from torchconsole.tui.widgets.run_preview import line_preview

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord


class MenuHeader(LineWidget):
    """`torchconsole 0.1.0                 ● 1 live   host   ~/nets/runs`."""

    def __init__(self, runs_dir: Path | None) -> None:
        super().__init__()
        self._place = Path(runs_dir or os.environ.get("TORCHCONSOLE_RUNS") or "runs")
        self._live = 0
        self._version = ""

    def show(self, records: Sequence[RunRecord]) -> None:
        """Show how many runs are live."""
        from importlib.metadata import version  # 30 ms, after the first frame

        self._version = self._version or version("torchconsole")
        self._live = sum(record.is_live for record in records)
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Drop the folder, then the host and the version, where the terminal is narrow."""
        left: Line = [(" torch", "bold strong"), ("console", "bold train"), (f" {self._version}", "faint")]
        live: Line = [("● ", "good"), (f"{self._live} live", "text")] if self._live else []
        host: Line = [(shorten(printable(gethostname()), 20), "muted")]
        place: Line = [(shorten(printable(short_path(self._place)), 40, "start"), "faint")]
        for parts in ((live, host, place), (live, host), (live,)):
            right = [span for part in parts if part for span in (*part, ("   ", "text"))][:-1]
            gap = width - 1 - line_width(left) - line_width(right)
            if gap >= 2:
                return [[*left, (" " * gap, "text"), *right]]
        return [left]


class PreviewLine(LineWidget):
    """The highlighted run in one line."""

    def __init__(self) -> None:
        super().__init__()
        self._record: RunRecord | None = None

    def show(self, record: RunRecord | None) -> None:
        """Show a run."""
        self._record = record
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the run; nothing without one."""
        return [[(" ", "text"), *line_preview(self._record, width - 1)]] if self._record else []
