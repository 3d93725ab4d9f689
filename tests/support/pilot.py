"""Drives a Textual app under test and waits for what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from tests.support.screen_text import is_shown, text_of
from tests.support.textual_compat import key_event

DEADLINE_SECONDS = 60


async def until(app: App[Any], pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait for a condition; fail with the screen's text after DEADLINE_SECONDS."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"timed out; the screen shows:\n{text_of(app.screen)}"
        await pilot.pause(0.01)


async def shows(app: App[Any], pilot: Pilot[Any], *words: str) -> None:
    """Wait until all of these are on the screen, however their lines are wrapped."""
    await until(app, pilot, lambda: all(is_shown(app.screen, word) for word in words))


def press_at_once(app: App[Any], *keys: str) -> None:
    """Press keys that arrive together, as over a slow connection, without waiting for any effect."""
    for key in keys:
        app.post_message(key_event(key))
