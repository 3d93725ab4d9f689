"""Shows a file of the user's that a preset would run, and asks whether it may."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.text import printable
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines, wrap


class TrustScreen(ModalScreen[bool]):
    """Ends with whether the user trusts the content that was shown."""

    BINDINGS = [
        Binding("y", "answer(True)", "Trust it", show=False),
        Binding("n,escape,ctrl+c", "answer(False)", "Don't", show=False),
    ]

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__()
        self._path = path
        self._content = content

    def compose(self) -> ComposeResult:
        """The question, the file's name, and all that is in it."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "y trust and continue · n or esc cancel · arrows scroll"
            yield Static(
                "This preset runs code of yours. Do you trust what is in this file?", classes="question"
            )
            yield Static(printable(str(self._path)), markup=False, classes="remark")
            yield SourceLines(self._content)

    def action_answer(self, trusts: bool) -> None:
        """Yes or no."""
        self.dismiss(trusts)

    def action_leave(self) -> None:
        """The keys that leave the console say no."""
        self.dismiss(False)


class SourceLines(ScrolledLines):
    """A file's lines with their numbers. Nothing is hidden: long lines are wrapped, codes are escaped."""

    def __init__(self, content: bytes) -> None:
        super().__init__(id="source")
        text = content.decode("utf-8", errors="backslashreplace").expandtabs(4)
        self._source = text.removesuffix("\n").split("\n")

    def on_mount(self) -> None:
        """The arrow keys scroll it at once."""
        self.focus()

    def source(self) -> object:
        """It never changes."""
        return self._source

    def body(self, width: int) -> list[Line]:
        """Each line, and its number before the first piece of it."""
        column = len(str(len(self._source))) + 2
        lines: list[Line] = []
        for number, text in enumerate(self._source, start=1):
            first, *rest = wrap(printable(text), width - column)
            lines.append([(f"{number:>{column - 2}}  ", "muted"), (first, "plain")])
            lines += [[(" " * column, "plain"), (piece, "plain")] for piece in rest]
        return lines
