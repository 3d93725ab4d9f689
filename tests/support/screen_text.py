"""The text on a Textual screen, and a search for words in it that ignores how lines are wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from textual.screen import Screen

from tests.support.textual_compat import screen_strips

_SPACE_OR_FRAME = re.compile(r"[\s\u2500-\u259f]+")
"""White space, box drawing and block characters, which may separate the parts of a wrapped word."""


def text_of(screen: Screen[Any]) -> str:
    """Return the screen as lines of text."""
    return "\n".join(strip.text.rstrip() for strip in screen_strips(screen)) + "\n"


def is_shown(screen: Screen[Any], words: str) -> bool:
    """Return whether these words are on the screen, on one line or wrapped anywhere inside a widget.

    A message may contain a path, whose length determines the line breaks: no test may depend on that.
    """
    if words in text_of(screen):
        return True
    wanted = _SPACE_OR_FRAME.sub("", words)
    return any(wanted in text for text in _unwrapped(screen))


def times_shown(screen: Screen[Any], words: str) -> int:
    """Return how often these words are on the screen, wrapped or not."""
    wanted = _SPACE_OR_FRAME.sub("", words)
    return sum(text.count(wanted) for text in _unwrapped(screen))


def _unwrapped(screen: Screen[Any]) -> Iterator[str]:
    """Yield the text of each innermost widget, without line breaks, white space and frames."""
    strips = screen_strips(screen)
    for widget in screen.walk_children():
        if widget.children:
            continue
        region = widget.region.intersection(screen.region)
        lines = strips[region.y : region.bottom]
        text = "".join(line.crop(region.x, region.right).text for line in lines)
        yield _SPACE_OR_FRAME.sub("", text)
