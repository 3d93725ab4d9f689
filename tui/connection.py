"""What the console spares the line to a distant terminal: over SSH it draws part by part, moves nothing."""

from __future__ import annotations

import os

REMOTE_CELLS_PER_SECOND = 2500
"""A cell costs three to five bytes: half a line of 20 kB/s is left for the answers to keys."""

REMOTE_SETTINGS = {"TEXTUAL_FPS": "15", "TEXTUAL_ANIMATIONS": "none"}
"""Textual reads these once, when it is imported."""


def is_remote() -> bool:
    """Whether the terminal is at the other end of an SSH connection."""
    return bool(os.environ.get("SSH_CONNECTION"))


def suit_connection() -> None:
    """Over SSH, set what the user has not set. To be called before Textual is imported."""
    if is_remote():
        for name, value in REMOTE_SETTINGS.items():
            os.environ.setdefault(name, value)
