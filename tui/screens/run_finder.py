"""Finds an lr for a paused run: a range test in a process of its own, from a checkpoint of its weights."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.protocol.commands import LARGEST_LR, SaveCheckpoint, SetLearningRate
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.checkpoints import newest_intact, step_of
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable_lines
from torchconsole.tui import launch
from torchconsole.tui.finders import LR_FINDER
from torchconsole.tui.screens.finder import FinderScreen
from torchconsole.tui.screens.preset_dialogs import ask_for_trust

if TYPE_CHECKING:
    from torchconsole.engine.protocol.events import ReportPhase
    from torchconsole.engine.protocol.finder_reports import Search
    from torchconsole.tui.run_session import RunSession
    from torchconsole.tui.state import ConsoleState


async def find_lr(app: App[Any], state: ConsoleState, session: RunSession) -> SetLearningRate | None:
    """Search from the newest weights of a paused run, which stays as it is. Return the change to make.

    Saves a checkpoint first if there is none of the present step; rotation removes it like any other. None if
    the user cancels or does not trust the run's code, or if nothing is found.
    """
    if state.is_program or state.run.status != "paused":
        reason = "only its program knows its model and data" if state.is_program else "pause the run first"
        state.say(f"cannot find an lr: {reason}", "attn")
        return None
    folder = RunFolder(Path(state.run.folder))
    try:
        preset = await asyncio.to_thread(read_preset, folder.preset_file)
        untrusted = await asyncio.to_thread(launch.untrusted_files, preset)
    except (TorchconsoleError, OSError) as error:
        app.notify(printable_lines(str(error)), title="cannot search", severity="error", markup=False)
        return None
    if not await ask_for_trust(app, untrusted):
        return None

    async def make(on_phase: ReportPhase) -> Search:
        checkpoint = await _present_weights(folder, state.run.step, session)
        return await launch.search(LR_FINDER, preset, on_phase, checkpoint)

    found = await app.push_screen_wait(FinderScreen(LR_FINDER, make))
    if not isinstance(found, LearningRateSearch) or found.suggestion is None:
        return None
    return change_to(found.suggestion, found.lr, state.run)


def change_to(suggestion: float, base: float, run: RunState) -> SetLearningRate:
    """Return the command after which the schedule is that of `suggestion` in place of the preset's lr `base`.

    It scales the schedule, which may be in its warm-up now; a held lr is set to `suggestion`.
    """
    if run.lr_held is not None:
        return SetLearningRate(value=suggestion)
    return SetLearningRate(factor=min(LARGEST_LR, suggestion / (base * run.lr_scale)))


async def _present_weights(folder: RunFolder, step: int, session: RunSession) -> Path:
    """Return a checkpoint of a step, saved now if there is none. Raises TorchconsoleError, OSError."""
    found = await asyncio.to_thread(newest_intact, folder)
    if found is None or step_of(found) != step:
        await session.send(SaveCheckpoint(keep=False))
        found = await asyncio.to_thread(newest_intact, folder)
    if found is None or step_of(found) != step:
        raise RunError(f"no checkpoint of step {step:,} was saved; try again, or see the log")
    return found
