"""The only module that uses private names of Textual. Written for textual >= 8.2.5, < 9.

`tests/tui/test_textual_compat.py` checks that these names exist and that no other module uses any.
"""

from __future__ import annotations

import codecs
import sys
from functools import partial
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.worker import WorkerFailed

Result = TypeVar("Result")


class TerminalDriver(LinuxDriver):
    """Textual's Linux driver, which also recovers after SIGSTOP and reads a terminal without UTF-8."""

    def run_input_thread(self) -> None:
        """Read the keys. Bytes that the terminal's encoding does not have become replacement characters."""
        encoding = getattr(sys.__stdin__, "encoding", None) or "utf-8"
        # Textual decodes UTF-8 only, and ends the app at any other byte.
        decoder = partial(codecs.getincrementaldecoder(encoding), errors="replace")
        setattr(linux_driver, "getincrementaldecoder", lambda _: decoder)  # noqa: B010
        super().run_input_thread()

    def _run_input_thread(self) -> None:
        """Run the thread that reads the keys (called by Textual, which would render a traceback)."""
        try:
            self.run_input_thread()
        except OSError:
            self._app.call_later(self._app.panic)  # the terminal is gone
        except Exception as error:  # noqa: BLE001 - shown as any other error
            self._app.call_later(self._app._handle_exception, error)

    def _sigcont_application(self, *_: object) -> None:
        """Set up the terminal again after SIGSTOP. Textual does this only after ctrl+z (SIGTSTP)."""
        if self._auto_restart and not self._must_signal_resume:
            # SIGSTOP cannot be caught, so the terminal settings saved for the exit would be our own.
            self.suspend_application_mode()
            self._must_signal_resume = True
        super()._sigcont_application()


class LineDiffApp(App[Result]):
    """An app that renders no tracebacks. With a `line_diff`, it writes only changed lines of the screen."""

    line_diff: LineDiff | None = None

    @property
    def crash(self) -> BaseException | None:
        """The unexpected error that ended the app, if one did."""
        error = self._exception
        return error.error if isinstance(error, WorkerFailed) else error

    def _fatal_error(self) -> None:
        """End the app after an unexpected error (called by Textual, which would render a traceback)."""
        self.panic()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write an update (called by Textual, which drops updates during a batch)."""
        if self.line_diff and not self._batch_count:
            if screen.is_modal and isinstance(renderable, ChopsUpdate):
                # A dialog is painted in parts of lines when it opens. Only whole lines can be compared.
                renderable = screen._compositor.render_full_update()
            renderable = self.line_diff.reduce(renderable)
        super()._display(screen, renderable)


class LineDiff:
    """Remembers the lines that full-screen updates have written, and skips those already shown.

    Textual draws the whole screen twice for each dialog that opens or closes: 30 kB at 120x40, too much for
    a slow SSH connection.
    """

    def __init__(self) -> None:
        self._region = Region()
        self._shown: dict[int, str] = {}

    def clear(self) -> None:
        """Forget what is shown. Call this after another program has written to the terminal."""
        self._shown.clear()

    def reduce(self, update: RenderableType | None) -> RenderableType | None:
        """Reduce a full-screen update to the changed lines. Return other updates unchanged."""
        if isinstance(update, LayoutUpdate):
            if update.region != self._region:
                self.clear()
            self._region = update.region
            return _ChangedLines(update, self._shown)
        if isinstance(update, ChopsUpdate):
            for y, _, _ in update.spans:
                self._shown.pop(y, None)
        return update


class _ChangedLines(LayoutUpdate):
    """The lines of a full-screen update that differ from `shown`. Writing them updates `shown`."""

    def __init__(self, update: LayoutUpdate, shown: dict[int, str]) -> None:
        super().__init__(update.strips, update.region)
        self._shown = shown

    def render_segments(self, console: Console) -> str:
        """Return the text and control codes to write to the terminal (called by Textual)."""
        written = []
        for y, strips in enumerate(self.strips, self.region.y):
            line = Strip(map(_visible, Strip.join(list(strips)))).simplify().render(console)
            if self._shown.get(y) != line:
                self._shown[y] = line
                written.append(Control.move_to(self.region.x, y).segment.text + line)
        return "".join(written)


def _visible(segment: Segment) -> Segment:
    """Drop invisible attributes: links, metadata, and the text color of blanks."""
    text, style, _ = segment
    if style is None or text.strip(" ") or style.reverse or style.underline or style.strike:
        return Segment(text, style and style.clear_meta_and_links())
    return Segment(text, Style(bgcolor=style.bgcolor))
