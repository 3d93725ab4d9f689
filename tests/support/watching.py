"""A run screen under test: its app, its text, waiting for it, and golden files."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.message import Message
from textual.pilot import Pilot

from tests.support.pilot import press_at_once, shows, until
from tests.support.screen_text import text_of
from tests.support.scripted import FOLDER, NOON, ScriptedRun
from tests.support.textual_compat import is_painted
from torchconsole.tui.keys import APP, bindings
from torchconsole.tui.screens.run import RunScreen
from torchconsole.tui.themed_app import ThemedApp
from torchconsole.tui.user_config import UserConfig
from torchconsole.tui.user_keys import UserKeys

GOLDENS = Path(__file__).parents[1] / "tui" / "goldens"
PHASE_SECONDS = 12
"""The screen's clock is this much later than NOON."""


class Host(ThemedApp[None]):
    """An app with one run screen. It records the messages that the screen posts."""

    BINDINGS = bindings(APP)
    USER_KEYS: UserKeys = {}

    def __init__(self, run: ScriptedRun) -> None:
        super().__init__(UserConfig(keys=self.USER_KEYS))
        self.now = NOON + PHASE_SECONDS
        self.run_screen = RunScreen(run.open, FOLDER, clock=lambda: self.now)
        self.received: list[Message] = []

    def on_mount(self) -> None:
        """Show the run screen."""
        self.push_screen(self.run_screen)

    def on_run_screen_close_requested(self, message: RunScreen.CloseRequested) -> None:
        """Record the message."""
        self.received.append(message)

    def on_run_screen_resume_requested(self, message: RunScreen.ResumeRequested) -> None:
        """Record the message."""
        self.received.append(message)


class Console:
    """A run screen under test: its text, its keys, and the scripted run that it shows."""

    def __init__(self, run: ScriptedRun, app: Host, pilot: Pilot[None]) -> None:
        self.run = run
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """The text of the topmost screen."""
        return text_of(self.app.screen)

    @property
    def text_below(self) -> str:
        """The text of the run screen, even if a dialog covers it."""
        return text_of(self.app.run_screen)

    async def press(self, *keys: str) -> None:
        """Press keys and wait until their effect is shown."""
        await self.pilot.press(*keys)
        await self.settle()

    async def press_at_once(self, *keys: str) -> None:
        """Press keys that arrive together; see `pilot.press_at_once`."""
        press_at_once(self.app, *keys)
        await self.settle()

    async def settle(self) -> None:
        """Wait until all events so far are received and shown."""
        await self.until(lambda: self.run.all_received and not self.app.run_screen.refresh_is_due)
        await self.pilot.pause()
        await self.until(lambda: is_painted(self.app.screen))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, with a deadline."""
        await until(self.app, self.pilot, condition)

    async def shows(self, *words: str) -> None:
        """Wait until all of these words are on the screen."""
        await shows(self.app, self.pilot, *words)


@asynccontextmanager
async def watching(run: ScriptedRun, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Console]:
    """Open a run screen on a scripted run."""
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
