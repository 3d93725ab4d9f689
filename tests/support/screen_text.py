"""The text on a Textual screen, and whether some words are on it however they are wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from textual.screen import Screen
from textual.strip import Strip

_SPACE_OR_FRAME = re.compile(r"[\s\u2500-\u259f]+")
"""White space, box drawing and blocks: what stands between the halves of a wrapped word."""


def text_of(screen: Screen[Any]) -> str:
    """The screen as lines of text."""
    return "\n".join(strip.text.rstrip() for strip in _strips(screen)) + "\n"


def is_shown(screen: Screen[Any], words: str) -> bool:
    """Whether these words are on the screen, on one line or wrapped anywhere inside a widget.

    A message may hold a path, whose length decides where the lines break: no test may depend on that.
    """
    if words in text_of(screen):
        return True
    wanted = _SPACE_OR_FRAME.sub("", words)
    return any(wanted in text for text in _unwrapped(screen))


def _unwrapped(screen: Screen[Any]) -> Iterator[str]:
    """The text of each innermost widget, without line breaks, white space and frames."""
    strips = _strips(screen)
    for widget in screen.walk_children():
        if widget.children:
            continue
        region = widget.region.intersection(screen.region)
        lines = strips[region.y : region.bottom]
        text = "".join(line.crop(region.x, region.right).text for line in lines)
        yield _SPACE_OR_FRAME.sub("", text)


def _strips(screen: Screen[Any]) -> list[Strip]:
    return screen._compositor.render_strips()
