"""The line above the keys: what the engine answered last, and the last checkpoint."""

from __future__ import annotations

from torchconsole.engine.text import printable
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, elide, line_width, spread


class NoticeLine(LineWidget):
    """`lr 0.0178 applied at step 92                       saved step-00000552 (best)`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """An answer is never cut short for the checkpoint; a warning makes way for one that is not saved."""
        notice = self._state.notice
        text: Line = [(elide(printable(notice.text), width), notice.tone)]
        if notice.from_log and self._state.run.checkpoint_failure:
            text = []
        return [spread(text, self._checkpoint(width - line_width(text) - 2), width)]

    def _checkpoint(self, room: int) -> Line:
        run = self._state.run
        if run.checkpoint_failure:
            return [(elide(printable(run.checkpoint_failure), room), "bad")]
        saved = run.last_checkpoint
        if saved is None:
            return [("no checkpoint yet", "muted")]
        return [("saved ", "muted"), (printable(saved.name), "strong"), (f" ({saved.reason})", "muted")]
