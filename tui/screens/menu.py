"""The menu: the presets with a description of the highlighted one, and the runs, live ones first."""

from __future__ import annotations

import asyncio
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
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable
from torchconsole.tui.screens.dialogs import HelpScreen
from torchconsole.tui.screens.menu_actions import MENU_ACTIONS, WHILE_SEARCHING
from torchconsole.tui.screens.preset_list import PresetList
from torchconsole.tui.screens.run_list import RunList
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.preset_preview import PresetPreview

if TYPE_CHECKING:
    from textual.widgets import Input

    from torchconsole.engine.config.data_location import DataPlace
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.widgets.inputs import SearchLine

REFRESH_SECONDS = 1.5
PAINTED_SECONDS = 0.05
"""After its layout, until the first frame is on the screen."""


class MenuScreen(Screen[None]):
    """Says which preset the user wants to start or edit and which run to see; the app does it."""

    # The lists bind enter themselves. What is done to a line must not overtake the arrow keys that chose it.
    BINDINGS = [
        replace(action.binding, priority=action.id not in ("edit", "delete")) for action in MENU_ACTIONS[1:]
    ]
    DEFAULT_CSS = """
    MenuScreen {
        #chooser { height: 3fr; }
        PresetList, PresetPreview, RunList {
            border: none;
            border-top: solid $foreground 25%;
            border-title-color: $foreground;
            border-title-style: bold;
            padding: 0 1;
            background: transparent;
            scrollbar-size-vertical: 1;
        }
        PresetList:focus, RunList:focus {
            border: none;
            border-top: solid $accent;
            background-tint: transparent;
        }
        PresetList, RunList { text-wrap: nowrap; text-overflow: ellipsis; }
        PresetList { height: 1fr; scrollbar-gutter: stable; }
        #found { width: 3fr; height: 100%; }
        PresetPreview { width: 2fr; }
        RunList { height: 2fr; }
        ActionBar { height: 1; padding: 0 1; background: $panel; }
        OptionList > .option-list--option-highlighted { background: transparent; color: $foreground; }
        OptionList:focus > .option-list--option-highlighted { text-style: reverse; }
    }
    """

    class Shown(Message):
        """The first frame is on the screen: what was put off for its sake can be done."""

    class Left(Message):
        """The user wants to go."""

    @dataclass
    class PresetChosen(Message):
        """The user wants to start this preset."""

        preset: PresetEntry

    @dataclass
    class EditWanted(Message):
        """The user wants to change this preset's settings."""

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
        """Presets and description side by side, the runs below."""
        with Horizontal(id="chooser"):
            with Vertical(id="found"):
                yield PresetList(self._presets)
            yield PresetPreview()
        yield RunList()
        yield ActionBar(MENU_ACTIONS, [("torchconsole", "strong"), (f" on {gethostname()}", "muted")])

    def on_mount(self) -> None:
        """Everything that can wait for the first frame does: imports beside it would slow its painting."""
        self.call_after_refresh(self.set_timer, PAINTED_SECONDS, self._first_frame_is_shown)

    def _first_frame_is_shown(self) -> None:
        self._is_shown = True
        self.post_message(self.Shown())
        self._take_stock()
        self._follow_runs()

    def on_screen_resume(self) -> None:
        """Presets may have been saved, and data downloaded, since the menu was seen last."""
        if self._is_shown:
            self._take_stock()

    @on(OptionList.OptionHighlighted, "PresetList")
    def describe(self) -> None:
        """Say more about the highlighted preset."""
        listed, about = self.query_one(PresetList), self.query_one(PresetPreview)
        if listed.chosen is None:
            about.clear()
        else:
            about.show(listed.chosen, listed.place)

    @on(OptionList.OptionSelected, "PresetList")
    def choose_preset(self) -> None:
        """Enter on a preset."""
        if (preset := self.query_one(PresetList).chosen) is not None:
            self.post_message(self.PresetChosen(preset))

    @on(OptionList.OptionSelected, "RunList")
    def choose_run(self) -> None:
        """Enter on a run."""
        if (run := self.query_one(RunList).chosen) is not None:
            self.post_message(self.RunChosen(run))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the search line has the focus, most keys are text."""
        return action in WHILE_SEARCHING or not self._is_searching

    def action_edit(self) -> None:
        """Open the form on the highlighted preset."""
        if (preset := self.query_one(PresetList).chosen) is not None:
            self.post_message(self.EditWanted(preset))

    async def action_search(self) -> None:
        """Open a search line above the list that has the focus, or go back to the one that is open."""
        from torchconsole.tui.widgets.inputs import SearchLine

        line = self._search_line
        if line is None:
            line = SearchLine()
            self._searched = RunList if self.query_one(RunList).has_focus else PresetList
            await self.mount(line, before=self._searched_list)
        self.set_focus(line)  # at once: the next key may be in the queue already

    async def action_clear_search(self) -> None:
        """List everything again."""
        if (line := self._search_line) is not None:
            self.set_focus(self._searched_list)
            self._searched_list.search("")
            await line.remove()

    def action_order(self) -> None:
        """List the runs in another order."""
        self.query_one(RunList).change_order()

    def action_delete(self) -> None:
        """Ask, then delete the run that is marked."""
        runs = self.query_one(RunList)
        if runs.has_focus and runs.chosen is not None:
            self._delete(runs.chosen)

    @work
    async def _delete(self, run: RunRecord) -> None:
        from torchconsole.engine.run.registry import delete_run, list_runs
        from torchconsole.tui.screens.dialogs import DeleteScreen

        if not run.is_live and await self.app.push_screen_wait(DeleteScreen(run.name)) is None:
            return
        try:
            await asyncio.to_thread(delete_run, RunFolder(Path(run.folder)))
            self.query_one(RunList).show(await asyncio.to_thread(list_runs, self._runs_dir))
        except (RunError, OSError) as error:
            self.notify(printable(str(error)), title="not deleted", severity="error", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as it is typed."""
        self._searched_list.search(event.value)

    def on_input_submitted(self) -> None:
        """From the search to what it found."""
        self.set_focus(self._searched_list)

    def on_search_line_moved(self, event: SearchLine.Moved) -> None:
        """Look along the list while searching."""
        listed = self._searched_list
        if event.step > 0:
            listed.action_cursor_down()
        else:
            listed.action_cursor_up()

    def action_other_list(self) -> None:
        """Go to the list that has not the focus."""
        presets, runs = self.query_one(PresetList), self.query_one(RunList)
        self.set_focus(runs if presets.has_focus else presets)

    def action_help(self) -> None:
        """Show what the keys do."""
        self.app.push_screen(HelpScreen(MENU_ACTIONS))

    def action_leave(self) -> None:
        """Leave the console."""
        self.post_message(self.Left())

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

    @work(exclusive=True, group="stock")
    async def _take_stock(self) -> None:
        """Read the presets anew, and look for their data."""
        presets, places = await asyncio.to_thread(_stock)
        self.query_one(PresetList).show(presets, places)

    @work
    async def _follow_runs(self) -> None:
        """Keep the list of runs up to date while the menu is seen."""
        from torchconsole.engine.run.registry import list_runs

        listed = self.query_one(RunList)
        while True:
            if self.is_current:
                try:
                    listed.show(await asyncio.to_thread(list_runs, self._runs_dir))
                except (RunError, OSError) as error:
                    listed.tell(f"cannot be listed: {error}")
            await asyncio.sleep(REFRESH_SECONDS)


def _stock() -> tuple[list[PresetEntry], dict[str, DataPlace]]:
    from torchconsole.engine.config.data_location import find_data

    presets = list_presets()
    return presets, {preset.name: find_data(preset.path) for preset in presets if not preset.problem}
