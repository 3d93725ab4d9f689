"""A headless run in a terminal: its lines, and below them two lines that change with the run."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from torchconsole.engine.text import printable
from torchconsole.tui.cli.headless_output import HeadlessOutput
from torchconsole.tui.cli.progress_lines import BEST
from torchconsole.tui.formatting import (
    format_duration,
    format_named_metric,
    format_number,
    format_percent,
    format_phase,
    format_progress,
)

if TYPE_CHECKING:
    from torchconsole.engine.protocol.events import Event
    from torchconsole.engine.protocol.messages import Snapshot
    from torchconsole.engine.protocol.run_state import RunState

REFRESH_SECONDS = 0.25
BAR_CELLS = 30
STATUS_STYLES = {"running": "green", "paused": "yellow", "failed": "red", "lost": "red"}


class LiveOutput(HeadlessOutput):
    """Draws the live lines in place, at most four times a second."""

    def __init__(self) -> None:
        super().__init__()
        # Our own standard output escapes control codes, so this draws on the interpreter's.
        self._console = Console(file=sys.__stdout__, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._drawn = 0.0
        self._later: asyncio.TimerHandle | None = None

    def attach(self, state: RunState) -> None:
        """Follow a run from its state on."""
        super().attach(state)
        self._live.start()

    def receive(self, event: Event | Snapshot) -> None:
        """Show an event, at the latest with the next refresh."""
        self.progress.width = self._console.width
        super().receive(event)
        if self._later is None:
            wait = max(0.0, self._drawn + REFRESH_SECONDS - time.monotonic())
            self._later = asyncio.get_running_loop().call_later(wait, self._draw)

    def say(self, text: str) -> None:
        """Print a line above the live ones."""
        self._console.print(_line_text(text), soft_wrap=True)

    def close(self) -> None:
        """Remove the live lines."""
        if self._later is not None:
            self._later.cancel()
        self._live.stop()

    def _draw(self) -> None:
        self._later, self._drawn = None, time.monotonic()
        lines = live_lines(self.progress.state)
        for line in lines:
            line.truncate(self._console.width - 1, overflow="ellipsis")
        self._live.update(Group(*lines), refresh=True)


def live_lines(state: RunState) -> list[Text]:
    """Return where a run is, and its latest metrics."""
    first = Text(no_wrap=True)
    first.append(f"{state.status} ", STATUS_STYLES.get(state.status, "bold"))
    phase = state.phase
    if phase is not None and phase.phase not in ("training", "paused"):
        first.append(" ".join(filter(None, (format_phase(phase), format_progress(phase)))) + "  ", "dim")
    done = state.step / state.total_steps if state.total_steps else None
    if done is not None:
        full = min(BAR_CELLS, int(done * BAR_CELLS))
        first.append("━" * full, "cyan").append("━" * (BAR_CELLS - full), "dim")
        first.append(f" {format_percent(done):>4}  ", "bold")
    epochs = f"/{state.total_epochs:,}" if state.total_epochs else ""
    steps = f"/{state.total_steps:,}" if state.total_steps else ""
    first.append(f"epoch {state.epoch:,}{epochs}  step {state.step:,}{steps}")
    if state.eta_seconds:
        first.append(f"  ETA {format_duration(state.eta_seconds)}", "bold")
    return [first, _metrics_line(state)]


def _metrics_line(state: RunState) -> Text:
    line = Text(no_wrap=True)
    speed = state.metrics.get("samples_per_sec")
    for name in (*state.losses, "lr", "grad_norm"):
        value = state.metrics.get(name)
        if value is not None:
            shown = format_number(value) if name == "lr" else format_named_metric(name, value)
            line.append(f"{name} ", "dim").append(f"{shown}  ", "bold")
    if speed:
        line.append("speed ", "dim").append(f"{speed:,.0f} samples/s  ", "bold")
    if state.best is not None:
        best = f"{format_named_metric(state.best.metric, state.best.value)} at step {state.best.step:,}"
        line.append(f"{BEST} {printable(state.best.metric)} ", "yellow").append(best, "bold")
    return line


def _line_text(text: str) -> Text:
    style = {"warning:": "yellow", "error:": "red"}.get(text.partition(" ")[0], "")
    line = Text(text, style)
    line.highlight_words([BEST], "bold yellow")
    return line
