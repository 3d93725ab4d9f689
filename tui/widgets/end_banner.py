"""Says how a run or the connection to it ended, and where to look. The key bar offers what can be done."""

from __future__ import annotations

from torchconsole.engine.text import printable
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, elide
from torchconsole.tui.widgets.scrolled_lines import wrap

_MOST_LINES = 2


class EndBanner(LineWidget):
    """Hidden while the run is live."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def redraw(self) -> None:
        """Appear with the run's end, as tall as the reason needs."""
        self.set_class(self._state.has_ended, "-shown")
        if self._state.has_ended:
            self.set_class(self._is_bad, "-bad")
            super().redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The end in at most two lines, then the way to the worker's own words."""
        pieces = wrap(self._ending(), width)
        if len(pieces) > _MOST_LINES:
            pieces[_MOST_LINES - 1 :] = [elide(" ".join(pieces[_MOST_LINES - 1 :]), width)]
        lines: list[Line] = [[(piece, "strong")] for piece in pieces]
        if self._is_bad and self._state.run.folder:
            lines.append([("what the worker printed: ", "muted"), (self._log_file(), "plain")])
        return lines

    @property
    def _is_bad(self) -> bool:
        return self._state.run.status in ("failed", "lost", "interrupted") or bool(self._state.fault)

    def _log_file(self) -> str:
        return printable(f"{self._state.run.folder}/worker.log")

    def _ending(self) -> str:
        run = self._state.run
        if not run.is_live:
            return f"{run.status} at step {run.step:,}{f': {printable(run.reason)}' if run.reason else ''}"
        fault = printable(self._state.fault) or "the worker closed it"
        return f"the connection is gone ({fault}); the run may be going on"
