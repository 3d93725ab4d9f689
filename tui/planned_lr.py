"""The lr that presets without runs will have, computed for the menu's preview and kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.errors import TorchconsoleError

if TYPE_CHECKING:
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.protocol.series import Series
    from torchconsole.tui.preset_facts import PresetFacts

SETTLE_SECONDS = 1.0
"""A process that imports torch takes seconds, so a preset must stay highlighted for this long."""


class PlannedLr:
    """Curves by the file of the preset and its time; None for one that cannot be computed."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, float], Series | None] = {}

    def added_to(self, facts: PresetFacts, preset: PresetEntry) -> PresetFacts:
        """Return facts with the lr, if they lack one and it is known."""
        lr = self._known.get(_key(preset)) if facts.lacks_lr else None
        return facts if lr is None else replace(facts, lr=lr, is_planned=True)

    async def compute(self, preset: PresetEntry) -> None:
        """Compute the lr in a process that ends with this task, unless it is known. Never raises."""
        from torchconsole.tui import launch

        await asyncio.sleep(SETTLE_SECONDS)
        key = _key(preset)
        if key in self._known:
            return
        self._known[key] = None
        with suppress(TorchconsoleError, OSError):  # the form and the start say what is wrong
            try:
                curve = await launch.lr_curve(preset.path, [])
            except asyncio.CancelledError:
                del self._known[key]
                raise
            self._known[key] = _series(curve.steps, curve.lrs[0])


def _key(preset: PresetEntry) -> tuple[Path, float]:
    """Return the file and when it was changed."""
    try:
        return preset.path, preset.path.stat().st_mtime
    except OSError:
        return preset.path, 0.0


def _series(steps: list[int], values: list[float]) -> Series:
    import numpy as np

    from torchconsole.engine.protocol.series import Series

    series = Series()
    series.append(np.array(steps, np.int64), np.array(values))
    return series
