"""The dialog with a training batch after its transforms: pictures, rows or texts, which scroll."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding
from textual.strip import Strip

from torchconsole.engine.protocol.reports import TrainingSamples
from torchconsole.tui.half_blocks import segments
from torchconsole.tui.screens.about import AboutLines, AboutScreen
from torchconsole.tui.theme import look_of
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.sample_lines import PictureRow, sample_lines
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines


class SamplesScreen(AboutScreen):
    """Shows the samples of a batch."""

    BINDINGS = [Binding("v", "dismiss", "Close", show=False)]

    def __init__(self, samples: TrainingSamples) -> None:
        super().__init__(self._lines_of)
        self._samples = samples

    def compose(self) -> list[ScrolledLines]:
        """Lay out the lines."""
        return [SampleLines(self._lines_of)]

    def _lines_of(self, width: int) -> list[Line]:
        look = look_of(self.app)
        return sample_lines(
            self._samples, width, painted=look.paints_backgrounds, dark=look.dark is not False
        )


class SampleLines(AboutLines):
    """Lines of which some have rows of pictures, in colors of their own."""

    def paint(self, line: Line, width: int) -> Strip:
        """Render a line: spans of text by their tone, rows of pictures by their own colors."""
        if not any(isinstance(text, PictureRow) for text, _ in line):
            return super().paint(line, width)
        parts: list[Segment] = []
        for text, tone in line:
            if isinstance(text, PictureRow):
                parts += segments(text.cells, indexed=look_of(self.app).depth == "256")
            else:
                parts += super().paint([(text, tone)], cell_len(text))
        rest = max(0, width - Strip(parts).cell_length)
        return Strip([*parts, *super().paint([(" " * rest, "text")], rest)]).crop(0, width)
