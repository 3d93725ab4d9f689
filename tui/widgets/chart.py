"""One chart: a legend above curves over steps."""

from __future__ import annotations

from torchconsole.tui.charts.legend import legend
from torchconsole.tui.charts.panels import Panel
from torchconsole.tui.charts.plot import PlotStyle
from torchconsole.tui.charts.single import draw_curves
from torchconsole.tui.line_speed import draws
from torchconsole.tui.theme import look_of, paints
from torchconsole.tui.widgets.lines import Line, LineWidget


class Chart(LineWidget):
    """Shows a panel from step 0 to `end`, by default a little beyond its last step."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._panel = Panel("", ())
        self._end: int | None = None

    def show(self, panel: Panel, end: int | None = None) -> None:
        """Draw this panel."""
        self._panel, self._end = panel, end
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The legend, the plot, and the step axis if there is room for it."""
        panel = self._panel
        plot = draw_curves(
            panel.curves,
            width,
            height - 1,
            log=panel.is_log,
            exact=panel.is_exact,
            end=self._end,
            style=plot_style(self),
        )
        return [legend(panel, width, has_names=True), *plot]


def plot_style(widget: LineWidget) -> PlotStyle:
    """Return what the terminal of a widget can show in a plot."""
    app = widget.app
    has_tints = paints(app)
    return PlotStyle(
        has_band=has_tints and draws(app, "band"),
        has_shade=has_tints and draws(app, "future"),
        has_colors=look_of(app).depth != "none",
        has_grid_lines=has_tints and draws(app, "grid lines"),
        has_vertical_grid=widget.size.width >= 60 and draws(app, "vertical grid"),
    )
