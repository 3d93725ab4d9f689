"""The one test module that relies on private parts of Textual; written for textual >= 8.2.5, < 9.

`tests/tui/test_textual_compat.py` checks that each of them exists and that no other test module uses any.
"""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.events import Key
from textual.keys import _character_to_key
from textual.screen import Screen
from textual.strip import Strip


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


def key_event(key: str) -> Key:
    """Return the event of a key, given by its character or by Textual's name."""
    character = key if len(key) == 1 else None
    return Key(_character_to_key(key) if character else key, character)
