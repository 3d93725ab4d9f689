"""The one test module that relies on private parts of Textual; written for textual >= 8.2.5, < 9.

`tests/tui/test_textual_compat.py` checks that each of them exists and that no other test module uses any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.events import Key
from textual.geometry import Region
from textual.keys import _character_to_key
from textual.screen import Screen
from textual.strip import Strip

from tests.support.cell_terminal import CellTerminal
from torchconsole.tui.cell_writer import Piece
from torchconsole.tui.textual_compat import TerminalApp, _pieces


def is_painted(screen: Screen[Any]) -> bool:
    """Return whether no layout, repaint or message is outstanding."""
    is_outstanding = screen._layout_required or screen._dirty_widgets or screen._callbacks
    return not (is_outstanding or screen._compositor._dirty_regions) and not any(
        widget.message_queue_size or widget._repaint_required or widget._layout_required
        for widget in screen.walk_children(with_self=True)
    )


def screen_strips(screen: Screen[Any]) -> list[Strip]:
    """Return the lines of a screen, also of one that a dialog covers."""
    return screen._compositor.render_strips()


def notifications(app: App[Any]) -> str:
    """Return the messages of all notifications of an app, one per line."""
    return "\n".join(notification.message for notification in app._notifications)


def marked_up(app: App[Any]) -> list[str]:
    """Return the messages of an app in which brackets are markup."""
    return [notification.message for notification in app._notifications if notification.markup]


def key_event(key: str) -> Key:
    """Return the event of a key, given by its character or by Textual's name."""
    character = key if len(key) == 1 else None
    return Key(_character_to_key(key) if character else key, character)


def whole_screen(lines: Sequence[Strip], width: int) -> LayoutUpdate:
    """Return an update of the whole screen."""
    return LayoutUpdate([[line] for line in lines], Region(0, 0, width, len(lines)))


def part_of_screen(lines: Sequence[Sequence[Strip]], spans: list[tuple[int, int, int]]) -> ChopsUpdate:
    """Return an update of `spans` (row, first column, end) of lines that consist of several strips."""
    chops: list[dict[int, Strip | None]] = []
    ends: list[list[int]] = []
    for strips in lines:
        edges = [0, *accumulate(strip.cell_length for strip in strips)]
        chops.append(dict(zip(edges, strips, strict=False)))
        ends.append(edges[1:])
    return ChopsUpdate(chops, spans, ends)


def pieces_of(update: LayoutUpdate | ChopsUpdate) -> Iterator[Piece]:
    """Return the parts of the screen that an update covers."""
    return _pieces(update)


class RecordingDriver(HeadlessDriver):
    """A driver that hands everything written to its app, a WrittenApp."""

    @property
    def is_headless(self) -> bool:
        """Whether Textual writes nothing."""
        return False

    def write(self, data: str) -> None:
        """Write (called by Textual and by the app)."""
        assert isinstance(self._app, WrittenApp)
        self._app.record(data)


class WrittenApp(TerminalApp[None]):
    """An app whose output is kept and compared with Textual's. Run it with `run_test(headless=False)`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.driver_class = RecordingDriver
        self.written = ""
        self.differences: list[str] = []
        self.repeats = True
        self._shown = self._by_textual = CellTerminal(0, 0)

    def clear_from_outside(self) -> None:
        """Have another program clear the terminal, as `clear` does."""
        self._shown, self._by_textual = CellTerminal(*self.size), CellTerminal(*self.size)

    def record(self, data: str) -> None:
        """Keep what is written, and show it in the terminal."""
        self.written += data
        self._shown.feed(data)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        size = self.size
        if (self._shown.width, self._shown.height) != size:
            self._shown, self._by_textual = CellTerminal(*size), CellTerminal(*size)
        super()._display(screen, renderable)
        if isinstance(renderable, CompositorUpdate) and not self._batch_count:
            self._by_textual.feed(renderable.render_segments(self.console))
            lines = self._shown.touched | self._by_textual.touched
            self._shown.touched, self._by_textual.touched = set(), set()
            if any(self._shown.seen(y) != self._by_textual.seen(y) for y in lines):
                self.differences.append(f"{self._shown.text()}\ninstead of\n{self._by_textual.text()}")
