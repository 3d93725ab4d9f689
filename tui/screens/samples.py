"""The dialog with a training batch after its transforms: pictures, rows or texts, which scroll."""

from __future__ import annotations

from textual.binding import Binding

from torchconsole.engine.protocol.reports import TrainingSamples
from torchconsole.tui.screens.about import AboutScreen
from torchconsole.tui.theme import look_of, paints
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.sample_lines import sample_lines


class SamplesScreen(AboutScreen):
    """Shows the samples of a batch."""

    BINDINGS = [Binding("v", "dismiss", "Close", show=False)]

    def __init__(self, samples: TrainingSamples) -> None:
        super().__init__(self._lines_of)
        self._samples = samples

    def _lines_of(self, width: int) -> list[Line]:
        dark = look_of(self.app).dark is not False
        return sample_lines(self._samples, width, painted=paints(self.app), dark=dark)
