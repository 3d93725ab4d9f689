"""The only module that uses private names of Textual. Written for textual >= 8.2.5, < 9.

`tests/tui/test_textual_compat.py` checks that these names exist and that no other module uses any.
"""

from __future__ import annotations

import codecs
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from rich.color import ColorSystem
from rich.console import RenderableType
from rich.control import Control
from textual import events
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.screen import Screen
from textual.worker import WorkerFailed

from torchconsole.tui.cell_writer import CellWriter, Piece
from torchconsole.tui.line_speed import LineSpeed
from torchconsole.tui.palette import INDEXES
from torchconsole.tui.terminal_background import Replies, remember
from torchconsole.tui.terminal_codes import RESTORE_TITLE, SAVE_TITLE, can_show_title
from torchconsole.tui.widgets.lines import LineWidget

Result = TypeVar("Result")

LONGEST_WAIT_SECONDS = 1.0
"""For the last answers of the terminal, before it is given back."""


class _Decoder:
    """Decodes what the terminal sends, without its late answers to our questions."""

    def __init__(self, encoding: str, on_answers: Callable[[Replies], object]) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._replies = Replies(remember)
        self._on_answers = on_answers

    def decode(self, data: bytes, final: bool = False) -> str:
        """Return the text without answers (called by Textual)."""
        text = self._replies.strip(self._decoder.decode(data, final))
        if self._replies.has_any:
            self._on_answers(self._replies)
            self._replies.forget()
        return text


class TerminalDriver(LinuxDriver):
    """Textual's Linux driver, which also recovers after SIGSTOP and reads a terminal without UTF-8."""

    def run_input_thread(self) -> None:
        """Read the keys. Bytes that the terminal's encoding does not have become replacement characters."""
        encoding = getattr(sys.__stdin__, "encoding", None) or "utf-8"
        # Textual decodes UTF-8 only, and ends the app at any other byte.
        decoder = partial(_Decoder, encoding, self._note_answers)
        setattr(linux_driver, "getincrementaldecoder", lambda _: decoder)  # noqa: B010
        if isinstance(self._app, TerminalApp):
            typed, self._app.typed_ahead = self._app.typed_ahead, ""
            for event in XTermParser().feed(typed):
                self.process_message(event)
        super().run_input_thread()

    def _note_answers(self, replies: Replies) -> None:
        app = self._app
        if not isinstance(app, TerminalApp):
            return
        app.repeats = app.repeats or replies.repeats
        app.line_speed.is_asking = True
        now = time.monotonic()
        has_changed = [app.line_speed.answered(now) for _ in range(replies.statuses)]
        if any(has_changed):
            app.call_later(app.on_line_changed)

    def disable_input(self) -> None:
        """Read no more. Answers of the terminal that come later would be typed into the shell."""
        if isinstance(self._app, TerminalApp):
            deadline = time.monotonic() + LONGEST_WAIT_SECONDS
            while self._app.line_speed.is_waiting and time.monotonic() < deadline:
                time.sleep(0.01)
            self._app.line_speed.forget()
        super().disable_input()

    def start_application_mode(self) -> None:
        """Take over the terminal, at the start and after a suspension."""
        if isinstance(self._app, TerminalApp):
            self._app.forget_screen()
        self._has_title = can_show_title()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._has_title:
            self.write(SAVE_TITLE)

    def stop_application_mode(self) -> None:
        """Give the terminal back, without the colors of what was written last, and with its title."""
        self.write("\x1b[0m")
        if self._has_title:
            self.write(RESTORE_TITLE)
        super().stop_application_mode()

    def process_message(self, message: Message) -> None:
        """Note when the user was last here (called by Textual with what the terminal sends)."""
        if isinstance(self._app, TerminalApp):
            if isinstance(message, events.AppFocus | events.AppBlur):
                self._app.tells_focus = True
            elif isinstance(message, events.Key | events.MouseEvent):
                self._app.last_input = time.monotonic()
        super().process_message(message)

    def set_mouse(self, is_used: bool) -> None:
        """Have the terminal report the mouse, or not."""
        if is_used:
            self._mouse = True
            self._enable_mouse_support()
        else:
            self._disable_mouse_support()
            self._mouse = False

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


class TerminalApp(App[Result]):
    """An app that renders no tracebacks, and writes only the cells of the screen that change."""

    _writer: CellWriter | None = None
    line_speed: LineSpeed
    typed_ahead = ""
    """What was typed before the driver read the keys."""

    repeats = False
    """Whether the terminal knows REP, which repeats a character."""

    tells_focus = False
    """Whether the terminal has ever told that it gained or lost the focus."""
    last_input = 0.0
    """When a key or the mouse was used last (monotonic clock)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.line_speed = LineSpeed()

    def on_line_changed(self) -> None:
        """Draw more or less, because the line to the terminal has become faster or slower."""
        if self._writer:
            self._writer.color_system = self._color_system
        for screen in self.screen_stack:
            for widget in screen.query(LineWidget):
                widget.redraw()

    @property
    def _color_system(self) -> ColorSystem:
        system = self.console._color_system or ColorSystem.TRUECOLOR
        return system if self.line_speed.draws("truecolor") else min(system, ColorSystem.EIGHT_BIT)

    @property
    def idle_seconds(self) -> float:
        """Seconds since a key or the mouse was used."""
        return time.monotonic() - self.last_input

    def set_mouse(self, is_used: bool) -> None:
        """Have the terminal report the mouse, or leave it to the terminal."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.set_mouse(is_used)

    def write_code(self, code: str) -> None:
        """Write a code that draws nothing: a title, a bell, a text for the clipboard."""
        if self._driver is not None and self._running and not self._driver.is_headless:
            self._driver.write(code)
            self._driver.flush()

    @property
    def crash(self) -> BaseException | None:
        """The unexpected error that ended the app, if one did."""
        error = self._exception
        return error.error if isinstance(error, WorkerFailed) else error

    def forget_screen(self) -> None:
        """Have the next update write every cell that it covers, whatever the terminal shows."""
        if self._writer:
            self._writer.clear()

    def action_redraw(self) -> None:
        """Draw the whole screen again, after another program has written to the terminal."""
        self.forget_screen()
        self.refresh()

    def on_resize(self) -> None:
        """Draw everything after a change of the window's size, even if the size is the same again."""
        self.action_redraw()

    def _fatal_error(self) -> None:
        """End the app after an unexpected error (called by Textual, which would render a traceback)."""
        self.panic()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write an update (called by Textual, which drops updates during a batch)."""
        driver = self._driver
        if not isinstance(renderable, LayoutUpdate | ChopsUpdate) or driver is None or driver.is_headless:
            if renderable is not None:
                self.forget_screen()
            super()._display(screen, renderable)
            return
        if self._batch_count or not self._running or self._closed:
            return
        try:
            text = self._changes(renderable)
        except Exception as error:  # noqa: BLE001 - as Textual handles an error in its own rendering
            self._handle_exception(error)
        else:
            if text:
                self._begin_update()
                driver.write(text)
                self._end_update()
                driver.flush()
        finally:
            self.post_display_hook()

    def _changes(self, update: LayoutUpdate | ChopsUpdate) -> str:
        """Return what to write for an update; empty if the terminal shows all of it already."""
        if self._writer is None:
            self._writer = CellWriter(self._color_system, INDEXES)
        self._writer.repeats = self.repeats
        size = self.size
        text = self._writer.render(_pieces(update), (size.width, size.height))
        cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
        if not text and cursor == self._previous_cursor_position:
            return ""
        self._previous_cursor_position = cursor
        now = time.monotonic()
        if self.line_speed.look(now):
            self.call_later(self.on_line_changed)
        return self.line_speed.wrap(text + Control.move_to(*cursor).segment.text, now)


def _pieces(update: LayoutUpdate | ChopsUpdate) -> Iterator[Piece]:
    """Yield the parts of the screen that an update covers, from the top and the left."""
    if isinstance(update, LayoutUpdate):
        for y, strips in enumerate(update.strips, update.region.y):
            yield y, update.region.x, chain.from_iterable(strips)
        return
    for y, left, right in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < right and end > left:
                yield y, x, strip if end <= right else strip.crop(0, right - x)
