"""Widgets that keep their painted lines: with each frame Textual asks all that are in sight for them."""

from __future__ import annotations

from typing import Any, Self

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class CachedRender(Widget):
    """Painted anew only after a `refresh`, and where another part of it comes into sight.

    Named last among a class's bases: Textual takes the style sheet of the first one alone.
    """

    _kept: tuple[Region, list[Strip]] | None = None

    def refresh(self, *regions: Region, **options: Any) -> Self:
        """Textual's call for whatever changes the looks."""
        self._kept = None
        return super().refresh(*regions, **options)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Textual's line API."""
        if self._kept is None or self._kept[0] != crop:
            self._kept = crop, super().render_lines(crop)
        return self._kept[1]
