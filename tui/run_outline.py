"""What the menu's preview shows of a run, read from its files in another thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.metric_direction import monitored_metric

if TYPE_CHECKING:
    from torchconsole.engine.protocol.run_state import History, RunState

Setting = tuple[str, Any, Any]
"""Key, the preset's value, the run's value; None for a key that is not set."""


@dataclass(frozen=True)
class RunOutline:
    """A run's history and settings. `problem` says why they cannot be read."""

    record: RunRecord
    state: RunState | None = None
    history: History = field(default_factory=dict)
    settings: Sequence[Setting] = ()
    preset_problem: str = ""
    problem: str = ""
    read_seconds: float = 0.0

    @property
    def metric(self) -> str:
        """The metric that decides which checkpoint is the best."""
        return monitored_metric(self.record)

    @property
    def counterpart(self) -> str:
        """The training metric of the same name."""
        return f"train/{self.metric.rpartition('/')[2]}"


def read_outline(record: RunRecord) -> RunOutline:
    """Read what the preview shows. Never raises for what is in the run's files."""
    from torchconsole.engine.config.comparison import changes_from_preset, flatten, preset_settings
    from torchconsole.engine.config.preset_files import find_file
    from torchconsole.engine.run.recorded_history import read_run_patiently

    begun = time.perf_counter()
    try:
        state, history = read_run_patiently(RunFolder(Path(record.folder)))
    except (RunError, OSError) as error:
        return RunOutline(record, problem=str(error))
    settings: list[Setting] = []
    problem = ""
    try:
        if record.preset and state.config:
            changed = changes_from_preset(flatten(state.config), preset_settings(find_file(record.preset)))
            settings = [(key, before, now) for key, (before, now) in changed.items()]
    except (TorchconsoleError, OSError):
        if "script" not in state.config:  # which most often was started without a preset
            problem = f"no preset {record.preset} to compare with"
    return RunOutline(record, state, history, settings, problem, read_seconds=time.perf_counter() - begun)
