"""The console opened on its menu, for tests: its text, its keys, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from tests.support.screen_text import is_shown, text_of
from tests.support.watching import DEADLINE_SECONDS
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.app import ConsoleApp


def screen_text(app: ConsoleApp) -> str:
    """The screen as lines of text."""
    return text_of(app.screen)


async def until(app: ConsoleApp, pilot: Pilot[RunFolder], condition: Callable[[], object]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"in vain; the screen shows:\n{screen_text(app)}"
        await pilot.pause(0.01)


async def shows(app: ConsoleApp, pilot: Pilot[RunFolder], *words: str) -> None:
    """Wait until all of these are on the screen, however their lines are wrapped."""
    await until(app, pilot, lambda: all(is_shown(app.screen, word) for word in words))


def press_at_once(app: ConsoleApp, *keys: str) -> None:
    """Press keys that arrive together, as over a slow line: no key waits for what the one before did."""
    for key in keys:
        character = key if len(key) == 1 else None
        app.post_message(Key(_character_to_key(key) if character else key, character))
