"""The results pane: pictures, texts and the samples with the highest losses, below each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torchconsole.engine.protocol.info import WorstSample
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import os_error_summary, printable
from torchconsole.tui.empty_texts import no_results
from torchconsole.tui.half_blocks import draw_picture
from torchconsole.tui.picture_cells import picture_line
from torchconsole.tui.run_results import Result, ResultReader
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.theme import look_of, paints
from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.frames import crop
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.rows_pane import RowsPane

READ_SECONDS = 2.0
"""A live run's folder is read again this often while the pane is open."""

PICTURE_COLUMNS, PICTURE_ROWS, TEXT_LINES = 64, 16, 12
"""Most cells of a picture, and most lines of a text."""

_INDENT = 2


class ResultsPane(RowsPane[Result]):
    """`confusions  step 1,200` and the picture below it, or `loss 8.24  true dog  predicted cat (0.990)`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="results")
        self._found: Sequence[Result] = ()
        self._reader: tuple[str, ResultReader] | None = None
        self._read_for: object = None
        self._is_reading = False
        self._problem = ""

    def on_mount(self) -> None:
        """Look for new results also while nothing else happens."""
        self.set_interval(READ_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if self.is_on_screen:
            self.redraw()

    def source(self) -> object:
        """Return what the lines are made from."""
        look = look_of(self.app)
        return self._found, self._is_reading and not self._found, self._problem, look, self.size.height

    def redraw(self) -> None:
        """Read the folder if there may be something new, and draw."""
        run = self._state.run
        evaluation = run.last_confusion
        due = int(self._state.clock() // READ_SECONDS) if run.is_live else 0
        wanted = run.folder, run.status, None if evaluation is None else evaluation.seq, due
        if self._read_for != wanted and not self._is_reading:
            self._read_for, self._is_reading = wanted, True
            worst = evaluation.worst if evaluation else []
            self.run_worker(partial(self._read, run.folder, worst), thread=True, group="results")
        super().redraw()

    def _read(self, folder: str, worst: Sequence[WorstSample]) -> None:
        """Read the folder, in a thread of its own."""
        if self._reader is None or self._reader[0] != folder:
            self._reader = folder, ResultReader(RunFolder(Path(folder)))
        try:
            found, problem = self._reader[1].read(worst), ""
        except OSError as error:
            found, problem = [], os_error_summary(error)
        self.app.call_from_thread(self._show, found, problem)

    def _show(self, found: Sequence[Result], problem: str) -> None:
        self._is_reading = False
        if (list(found), problem) != (list(self._found), self._problem):
            self._found, self._problem = tuple(found), problem
        if self.is_attached:
            self.redraw()

    def rows(self) -> Sequence[Result]:
        """Return the results: what was saved, the newest first, then the samples, the worst first."""
        return self._found

    def row_lines(self, row: Result, width: int) -> list[Line]:
        """Return the line of a result, then its picture or its text, and an empty line."""
        head: Line = [(printable(row.title), "bold strong"), (f"  {printable(row.details)}", "text")]
        content = row.content
        if content.pixels is None and not content.text:
            head.append((f"  {printable(row.path)}", "faint"))
        lines = [crop(head, width)]
        if content.problem:
            lines.append(crop([(" " * _INDENT, "text"), (printable(content.problem), "bad")], width))
        elif content.pixels is not None:
            lines += self._picture(row, width)
        elif content.text:
            lines += self._text(content.text, width)
        else:
            return lines
        return [*lines, []]

    def _is_highlighted(self, index: int) -> bool:
        """Whether a line is the title of the highlighted result: a picture keeps its surroundings."""
        return index == self._starts[self.highlighted]

    def _picture(self, row: Result, width: int) -> list[Line]:
        assert row.content.pixels is not None
        painted, dark = paints(self.app), look_of(self.app).dark is not False
        columns = max(1, min(PICTURE_COLUMNS, width - _INDENT))
        rows = max(1, min(PICTURE_ROWS, self.scrollable_content_region.height - 1))  # below its title
        cells = draw_picture(row.content.pixels, columns, rows, painted=painted, dark=dark)
        return [[(" " * _INDENT, "text"), *picture_line(row)] for row in cells]

    def _text(self, text: str, width: int) -> list[Line]:
        wrapped = [
            piece
            for line in text.splitlines()
            for piece in wrap(printable(line), max(1, width - _INDENT)) or [""]
        ]
        shown = wrapped[:TEXT_LINES]
        if len(wrapped) > TEXT_LINES:
            more = len(wrapped) - TEXT_LINES + 1
            shown[-1] = f"... {more:,} more lines; {key_named(self.app, 'copy')} copies the path"
        return [[(" " * _INDENT, "text"), (line, "text")] for line in shown]

    def text_of(self, row: Result) -> str:
        """Return what is searched."""
        return f"{row.title} {row.details} {row.path} {row.content.text}"

    def text_to_copy(self) -> str:
        """Return the path of the highlighted result."""
        row = self.highlighted_row
        return "" if row is None else row.path

    def title(self) -> Line:
        """Return the title, and how many there are."""
        count: Line = [(f" {len(self._found):,}", "muted")] if self._found else []
        return [("results", "bold strong"), *count]

    def empty(self) -> str:
        """Return what is shown without results."""
        if self._problem:
            return f"the results cannot be read: {self._problem}"
        if self._is_reading:
            return "reading the results..."
        return no_results(self._state)
