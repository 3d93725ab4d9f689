"""The panes of the run screen, each opened by a number key: see `tui/pane_names.py`."""

from __future__ import annotations

from textual.widget import Widget

from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.changes_pane import ChangesPane
from torchconsole.tui.widgets.checkpoints_pane import CheckpointsPane
from torchconsole.tui.widgets.classes_pane import ClassesPane
from torchconsole.tui.widgets.device_pane import DevicePane
from torchconsole.tui.widgets.log_pane import LogPane
from torchconsole.tui.widgets.model_pane import ModelPane
from torchconsole.tui.widgets.preset_pane import PresetPane
from torchconsole.tui.widgets.ranks_pane import RanksPane
from torchconsole.tui.widgets.results_pane import ResultsPane


def create_panes(state: ConsoleState) -> dict[str, Widget]:
    """Return a widget for RANKS and each name in PANES except the charts. Each has `redraw()`."""
    return {
        "log": LogPane(state),
        "changes": ChangesPane(state),
        "classes": ClassesPane(state),
        "model": ModelPane(state),
        "device": DevicePane(state),
        "checkpoints": CheckpointsPane(state),
        "preset": PresetPane(state),
        "results": ResultsPane(state),
        "ranks": RanksPane(state),
    }
