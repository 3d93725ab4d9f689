"""The header of the run screen."""

from __future__ import annotations

import pytest

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.run_listing import run_cells
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.header import header_line


@pytest.mark.parametrize("step", [0, 1, 4, 5, 29, 575, 809, 814, 815, 994, 995, 999, 1000])
def test_the_run_list_and_the_run_screen_show_the_same_percentage(step: int) -> None:
    facts = {"name": "a", "folder": "/a", "status": "running", "step": step, "total_steps": 1000}
    listed = run_cells(RunRecord(**facts), now=0.0)[2].split()[-1]  # type: ignore[arg-type]
    line = header_line(ConsoleState(RunState.model_validate(facts)), 120)
    [shown] = [word for word in "".join(text for text, _ in line).split() if word.endswith("%")]
    assert listed == shown
