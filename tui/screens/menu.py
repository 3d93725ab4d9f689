"""The menu: the presets, a preview of the highlighted one, and the runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList

from torchconsole.engine.config.preset_index import PresetEntry, list_presets
from torchconsole.engine.errors import PresetError, RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable
from torchconsole.tui.actions import Action
from torchconsole.tui.run_listing import PROBLEMS
from torchconsole.tui.screens.dialogs import DeleteScreen, HelpScreen
from torchconsole.tui.screens.preset_list import PresetList
from torchconsole.tui.screens.run_list import RunList
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.preset_preview import PresetPreview

if TYPE_CHECKING:
    from textual.widgets import Input

    from torchconsole.engine.config.data_location import DataLocation
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.widgets.inputs import SearchLine

# fmt: off
MENU_ACTIONS = (
    Action("choose", ("enter",), "enter", "start or attach", "Start the preset, or attach to the run",
           "always"),
    Action("edit", ("e",), "e", "edit", "Edit the preset's settings, then start or save it", "always"),
    Action("search", ("slash",), "/", "search", "Search the list: presets or runs", "always", 1),
    Action("clear_search", ("escape",), "", "", "End the search", "always"),
    Action("other_list", ("tab", "shift+tab"), "tab", "other list", "Go to the other list", "always", 2),
    Action("order", ("o",), "o", "order", "Change the order of the runs", "always", 3),
    Action("delete", ("d", "delete"), "d", "delete", "Delete the highlighted run; asks first", "always", 4),
    Action("help", ("question_mark",), "?", "help", "Show this help", "always"),
    Action("quit", ("q",), "q", "quit", "Quit; live runs keep running", "always"),
    Action("leave", ("ctrl+c", "ctrl+q"), "", "", "Quit, also while searching", "always"),
)
# fmt: on

WHILE_SEARCHING = ("clear_search", "other_list", "leave")
"""Actions whose keys work while the search line has the focus. All other keys are typed into it."""

REFRESH_SECONDS = 1.5
PAINT_SECONDS = 0.05
"""From the first layout until the first frame is on the screen."""


class MenuScreen(Screen[None]):
    """Lets the user choose a preset to start or edit, or a run to show. The app does it."""

    # The lists bind enter themselves. Actions on the highlighted line have no priority: otherwise they would
    # overtake the arrow keys typed before them.
    BINDINGS = [
        replace(action.binding, priority=action.id not in ("edit", "delete")) for action in MENU_ACTIONS[1:]
    ]

    class Shown(Message):
        """The first frame is on the screen, so deferred work can start."""

    class QuitRequested(Message):
        """The user wants to quit the console."""

    @dataclass
    class PresetChosen(Message):
        """The user wants to start this preset."""

        preset: PresetEntry

    @dataclass
    class EditRequested(Message):
        """The user wants to edit this preset's settings."""

        preset: PresetEntry

    @dataclass
    class RunChosen(Message):
        """The user wants to see this run."""

        run: RunRecord

    def __init__(self, runs_dir: Path | None) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._presets = list_presets()
        self._is_shown = False
        self._searched: type[PresetList | RunList] = PresetList

    def compose(self) -> ComposeResult:
        """Lay out the presets beside the preview, the runs below, and the keys."""
        with Horizontal(id="chooser"):
            with Vertical(id="presets"):
                yield PresetList(self._presets)
            yield PresetPreview()
        yield RunList()
        yield ActionBar(MENU_ACTIONS, [("torchconsole", "strong"), (f" on {gethostname()}", "muted")])

    def on_mount(self) -> None:
        """Defer everything that can wait until the first frame is shown: imports would delay it."""
        self.call_after_refresh(self.set_timer, PAINT_SECONDS, self._on_first_frame)

    def _on_first_frame(self) -> None:
        self._is_shown = True
        self.post_message(self.Shown())
        self._load_presets()
        self._follow_runs()

    def on_screen_resume(self) -> None:
        """Read the presets again: some may have been saved, or their data downloaded, since."""
        if self._is_shown:
            self._load_presets()

    @on(OptionList.OptionHighlighted, "PresetList")
    def describe(self) -> None:
        """Show the highlighted preset in the preview."""
        presets, preview = self.query_one(PresetList), self.query_one(PresetPreview)
        if presets.highlighted_preset is None:
            preview.clear()
        else:
            preview.show(presets.highlighted_preset, presets.highlighted_location)

    @on(OptionList.OptionSelected, "PresetList")
    def choose_preset(self) -> None:
        """Start the preset on enter."""
        if (preset := self.query_one(PresetList).highlighted_preset) is not None:
            self.post_message(self.PresetChosen(preset))

    @on(OptionList.OptionSelected, "RunList")
    def choose_run(self) -> None:
        """Show the run on enter, or the whole reason why it cannot be read."""
        run = self.query_one(RunList).highlighted_run
        if run is not None and run.status in PROBLEMS:
            self.notify(printable(run.reason), title=f"{run.status} run", severity="error", markup=False)
        elif run is not None:
            self.post_message(self.RunChosen(run))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable most actions while the search line has the focus: their keys are text then."""
        return action in WHILE_SEARCHING or not self._is_searching

    def action_edit(self) -> None:
        """Open the form on the highlighted preset."""
        if (preset := self.query_one(PresetList).highlighted_preset) is not None:
            self.post_message(self.EditRequested(preset))

    async def action_search(self) -> None:
        """Open a search line above the focused list, or return to the open one."""
        from torchconsole.tui.widgets.inputs import SearchLine

        line = self._search_line
        if line is None:
            line = SearchLine()
            self._searched = RunList if self.query_one(RunList).has_focus else PresetList
            await self.mount(line, before=self._searched_list)
        self.set_focus(line)  # now, because the next key may already be in the queue

    async def action_clear_search(self) -> None:
        """End the search and list everything again."""
        if (line := self._search_line) is not None:
            self.set_focus(self._searched_list)
            self._searched_list.search("")
            await line.remove()

    def action_order(self) -> None:
        """Sort the runs by the next of their orders."""
        self.query_one(RunList).change_order()

    def action_delete(self) -> None:
        """Ask, then delete the highlighted run."""
        runs = self.query_one(RunList)
        if runs.has_focus and runs.highlighted_run is not None:
            self._delete(runs.highlighted_run)

    @work
    async def _delete(self, run: RunRecord) -> None:
        from torchconsole.engine.run.deletion import delete_run, question
        from torchconsole.engine.run.registry import list_runs

        folder = RunFolder(Path(run.folder))
        try:
            asked = await asyncio.to_thread(question, folder)
            if await self.app.push_screen_wait(DeleteScreen(run.name, asked)) is None:
                return
            done = await asyncio.to_thread(delete_run, folder)
            if done.left:
                self.notify(printable(str(done)), markup=False)
            self.query_one(RunList).show(await asyncio.to_thread(list_runs, self._runs_dir))
        except (RunError, OSError) as error:
            self.notify(printable(str(error)), title="cannot delete the run", severity="error", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter the list while typing."""
        self._searched_list.search(event.value)

    def on_input_submitted(self) -> None:
        """Go from the search line to the list."""
        self.set_focus(self._searched_list)

    def on_search_line_moved(self, event: SearchLine.Moved) -> None:
        """Move the highlight of the list from the search line."""
        if event.step > 0:
            self._searched_list.action_cursor_down()
        else:
            self._searched_list.action_cursor_up()

    def action_other_list(self) -> None:
        """Move the focus to the other list."""
        presets, runs = self.query_one(PresetList), self.query_one(RunList)
        self.set_focus(runs if presets.has_focus else presets)

    def action_help(self) -> None:
        """Show the help."""
        self.app.push_screen(HelpScreen(MENU_ACTIONS))

    def action_leave(self) -> None:
        """Quit the console."""
        self.post_message(self.QuitRequested())

    action_quit = action_leave

    @property
    def _search_line(self) -> SearchLine | None:
        try:
            return self.query_one("SearchLine")  # type: ignore[return-value]
        except NoMatches:
            return None

    @property
    def _searched_list(self) -> PresetList | RunList:
        return self.query_one(self._searched)

    @property
    def _is_searching(self) -> bool:
        line = self._search_line
        return line is not None and line.has_focus

    @work(exclusive=True, group="presets")
    async def _load_presets(self) -> None:
        """Read the presets again, and find their data."""
        presets, locations = await asyncio.to_thread(_presets_and_data)
        self.query_one(PresetList).show(presets, locations)

    @work
    async def _follow_runs(self) -> None:
        """Update the list of runs while the menu is shown."""
        from torchconsole.engine.run.registry import list_runs

        run_list = self.query_one(RunList)
        while True:
            if self.is_current:
                try:
                    run_list.show(await asyncio.to_thread(list_runs, self._runs_dir))
                except (RunError, OSError) as error:
                    run_list.show_message(f"cannot list the runs: {error}")
            await asyncio.sleep(REFRESH_SECONDS)


def _presets_and_data() -> tuple[list[PresetEntry], dict[str, DataLocation]]:
    from torchconsole.engine.config.data_location import find_data

    presets = list_presets()
    locations = {}
    for preset in presets:
        with suppress(PresetError):  # a file that cannot be read, or was removed just now
            locations[preset.name] = find_data(preset.path)
    return presets, locations
