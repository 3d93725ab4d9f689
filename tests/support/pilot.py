"""Reads and drives a Textual app under test. Private names of Textual that only tests use stand here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen

from tests.support.screen_text import is_shown, text_of

DEADLINE_SECONDS = 10


def is_painted(screen: Screen[Any]) -> bool:
    """Return whether no layout, repaint or message is outstanding."""
    asked = screen._layout_required or screen._dirty_widgets or screen._callbacks
    return not (asked or screen._compositor._dirty_regions) and not any(
        widget.message_queue_size or widget._repaint_required or widget._layout_required
        for widget in screen.walk_children(with_self=True)
    )


def notifications(app: App[Any]) -> str:
    """Return the messages of all notifications of an app, one per line."""
    return "\n".join(notification.message for notification in app._notifications)


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
    """Press keys that arrive together, as over a slow line: none waits for the effect of the one before."""
    for key in keys:
        character = key if len(key) == 1 else None
        app.post_message(Key(_character_to_key(key) if character else key, character))
