"""A run screen under test: its host, its text, patience, and goldens."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.app import App
from textual.binding import Binding
from textual.events import Key
from textual.keys import _character_to_key
from textual.message import Message
from textual.pilot import Pilot

from tests.support.screen_text import is_shown, text_of
from tests.support.scripted import FOLDER, NOON, ScriptedRun
from torchconsole.tui import actions
from torchconsole.tui.screens.run import RunScreen

GOLDENS = Path(__file__).parents[1] / "tui" / "goldens"
DEADLINE_SECONDS = 10
PHASE_SECONDS = 12
"""How long after NOON the screen believes it is."""


class Host(App[None]):
    """An app of one run screen, which keeps the messages that it hears."""

    CSS_PATH = str(Path(actions.__file__).with_name("theme.tcss"))
    BINDINGS = [Binding("ctrl+q,ctrl+c", "screen.leave", show=False, priority=True)]

    def __init__(self, run: ScriptedRun) -> None:
        super().__init__()
        self.now = NOON + PHASE_SECONDS
        self.run_screen = RunScreen(run.open, FOLDER, clock=lambda: self.now)
        self.heard: list[Message] = []

    def on_mount(self) -> None:
        """Show the run."""
        self.push_screen(self.run_screen)

    def on_run_screen_left(self, message: RunScreen.Left) -> None:
        """Keep it."""
        self.heard.append(message)

    def on_run_screen_resume_wanted(self, message: RunScreen.ResumeWanted) -> None:
        """Keep it."""
        self.heard.append(message)


class Console:
    """A run screen under test: what it shows, its keys, and the scripted run at its far end."""

    def __init__(self, run: ScriptedRun, app: Host, pilot: Pilot[None]) -> None:
        self.run = run
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        return text_of(self.app.screen)

    @property
    def text_below(self) -> str:
        """The run screen, whatever lies over it."""
        return text_of(self.app.run_screen)

    @property
    def is_painted(self) -> bool:
        """Whether nothing waits to be laid out or painted: on a busy machine that may take a while."""
        screen = self.app.screen
        asked = screen._layout_required or screen._dirty_widgets or screen._callbacks
        return not (asked or screen._compositor._dirty_regions) and not any(
            widget.message_queue_size or widget._repaint_required or widget._layout_required
            for widget in screen.walk_children(with_self=True)
        )

    async def press(self, *keys: str) -> None:
        """Press keys and let the screen take them in."""
        await self.pilot.press(*keys)
        await self.settle()

    async def press_at_once(self, *keys: str) -> None:
        """Press keys that arrive together, as over a slow line: no key waits for what the one before did."""
        for key in keys:
            character = key if len(key) == 1 else None
            self.app.post_message(Key(_character_to_key(key) if character else key, character))
        await self.settle()

    async def settle(self) -> None:
        """Wait until everything that was said is shown."""
        await self.until(lambda: self.run.all_heard and not self.app.run_screen.refresh_is_due)
        await self.pilot.pause()
        await self.until(lambda: self.is_painted)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, with a deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"in vain; the screen shows:\n{self.text}"
            await self.pilot.pause(0.01)

    async def shows(self, *words: str) -> None:
        """Wait until all of these are on the screen, however their lines are wrapped."""
        await self.until(lambda: all(is_shown(self.app.screen, word) for word in words))


@asynccontextmanager
async def watching(run: ScriptedRun, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Console]:
    """The console on a scripted run."""
    app = Host(run)
    async with app.run_test(size=size) as pilot:
        console = Console(run, app, pilot)
        await console.until(lambda: run.opened)
        await console.settle()
        yield console


def check_golden(name: str, text: str) -> None:
    """Compare with tests/tui/goldens/NAME.txt; with UPDATE_GOLDENS=1 in the environment, write it instead."""
    file = GOLDENS / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    expected = file.read_text(encoding="utf-8")
    assert text == expected, f"{file} differs from:\n{text}\nUPDATE_GOLDENS=1 accepts the new screen"
