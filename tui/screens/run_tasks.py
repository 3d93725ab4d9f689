"""What the menu does with runs: delete, name and annotate, resume and extend them, edit their settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable, printable_lines
from torchconsole.tui.run_listing import PROBLEMS
from torchconsole.tui.screens.dialogs import DeleteScreen

if TYPE_CHECKING:
    from textual.worker import Worker

    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.screens.menu import MenuScreen
    from torchconsole.tui.screens.menu_reading import MenuReading
    from torchconsole.tui.screens.run_notes import RunLabels

MOST_NAMES = 8
"""Runs that the question names before all of them are deleted."""


@dataclass
class ResumeListedRun(Message):
    """The user wants to resume an ended run of the list, with another `preset` if given."""

    folder: Path
    preset: Preset | None = None


class RunTasks:
    """Asks what has to be asked, and does it in another thread."""

    def __init__(self, screen: MenuScreen, reading: MenuReading) -> None:
        self._screen = screen
        self._reading = reading

    def edit(self, run: RunRecord) -> None:
        """Open the form with the run's own settings."""
        from torchconsole.engine.run.imported import refuse_imported

        refusal = "cannot edit the settings"
        folder = self._readable_folder(run, refusal)
        if folder is None:
            return
        try:
            refuse_imported(folder, "edit the settings of")
        except RunError as error:
            self._report(refusal, error)
            return
        name = run.preset or run.name
        preset = PresetEntry(name, run.title or name, "", folder.preset_file)
        self._screen.post_message(self._screen.EditRequested(preset, run=run.name))

    def resume(self, run: RunRecord) -> None:
        """Resume a run that ended early; ask how many more epochs a finished one is to train."""
        from torchconsole.engine.run.script_runs import refuse_script, script_of

        refusal = "cannot resume the run"
        folder = self._readable_folder(run, refusal)
        if folder is None:
            return
        try:
            refuse_script(folder, "resume")
        except RunError as error:
            self._report(refusal, error)
            return
        if run.is_live:
            self._report(refusal, f"{run.name} is still running; attach to it instead")
        elif run.status == "finished" and script_of(folder) is None:
            _: Worker[None] = self._screen.run_worker(partial(self._extend, run, folder), group="extend")
        else:
            self._screen.post_message(ResumeListedRun(folder.path))

    def _readable_folder(self, run: RunRecord, refusal: str) -> RunFolder | None:
        """Return the folder of a run that can be read; say why there is none."""
        if run.status in PROBLEMS:
            self._report(refusal, f"{run.name} is {run.status}: {run.reason}")
            return None
        return RunFolder(Path(run.folder))

    async def _extend(self, run: RunRecord, folder: RunFolder) -> None:
        from torchconsole.engine.protocol.run_state import RunState
        from torchconsole.tui.screens.extend import ExtendScreen
        from torchconsole.tui.state import ConsoleState

        known = RunState(name=run.name, folder=run.folder, epoch=run.epoch, total_epochs=run.total_epochs)
        preset = await self._screen.app.push_screen_wait(ExtendScreen(folder, ConsoleState(known)))
        if preset is not None:
            self._screen.post_message(ResumeListedRun(folder.path, preset))

    def delete(self, runs: Sequence[RunRecord]) -> None:
        """Ask, then delete runs that have ended."""
        _: Worker[None] = self._screen.run_worker(partial(self._delete, runs), group="delete")

    def annotate(self, run: RunRecord) -> None:
        """Ask for name, tags and note of a run."""
        if run.status in PROBLEMS:
            self._report("cannot name the run", f"{run.name} is {run.status}: {run.reason}")
            return
        _: Worker[None] = self._screen.run_worker(partial(self._annotate, run), group="annotate")

    async def _delete(self, runs: Sequence[RunRecord]) -> None:
        from torchconsole.engine.run.deletion import delete_run, question

        folders = [RunFolder(Path(run.folder)) for run in runs]
        try:
            asked = [await asyncio.to_thread(question, folder) for folder in folders]
        except (RunError, OSError) as error:
            self._report("cannot delete the run", error)
            return
        name, text = runs[0].name, asked[0]
        if len(runs) > 1:
            names = ", ".join(run.name for run in runs[:MOST_NAMES])
            more = f" and {len(runs) - MOST_NAMES} more" if len(runs) > MOST_NAMES else ""
            name, text = f"{len(runs)} runs", f"Delete {names}{more} with all their checkpoints?"
        if await self._screen.app.push_screen_wait(DeleteScreen(name, text, len(runs))) is None:
            return
        for folder in folders:
            try:
                done = await asyncio.to_thread(delete_run, folder)
            except (RunError, OSError) as error:
                self._report("cannot delete the run", error)
            else:
                self._screen.runs.forget(str(folder.path))
                if done.left:
                    self._screen.notify(printable(str(done)), markup=False)
        self._reading.look_again()

    async def _annotate(self, run: RunRecord) -> None:
        from torchconsole.engine.run.notes import read_notes
        from torchconsole.tui.screens.run_notes import NotesScreen

        folder = RunFolder(Path(run.folder))
        notes = await asyncio.to_thread(read_notes, folder)
        labels = await self._screen.app.push_screen_wait(NotesScreen(folder, notes))
        if labels is None:
            return
        try:
            renamed = await asyncio.to_thread(_label, folder, labels)
        except (RunError, OSError) as error:
            self._report("the run keeps its name and notes", error)
            return
        self._screen.runs.follow_rename(run.folder, str(renamed.path))
        self._reading.look_again()

    def _report(self, title: str, reason: object) -> None:
        self._screen.notify(printable_lines(str(reason)), title=title, severity="error", markup=False)


def _label(folder: RunFolder, labels: RunLabels) -> RunFolder:
    """Write the notes, then rename: a refused name leaves both as they were. Raises RunError."""
    from torchconsole.engine.run.notes import read_notes, write_notes
    from torchconsole.engine.run.renaming import rename_run

    renamed = rename_run(folder, labels.name)
    if labels.notes != read_notes(renamed):
        write_notes(renamed, labels.notes)
    return renamed
