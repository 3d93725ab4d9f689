"""Takes the place of everything else in a terminal in which nothing can be read."""

from __future__ import annotations

from torchconsole.tui.widgets.lines import Line, LineWidget
from torchconsole.tui.widgets.scrolled_lines import wrap

READABLE_WIDTH, READABLE_HEIGHT = 40, 10
"""Columns and rows below which there is nothing else."""


class TooSmall(LineWidget):
    """Shown by the style sheet."""

    def draw(self, width: int, height: int) -> list[Line]:
        """What there is and what is needed."""
        text = f"terminal too small ({width}x{height}), {READABLE_WIDTH}x{READABLE_HEIGHT} needed"
        return [[(piece, "warn")] for piece in wrap(text, width)]
