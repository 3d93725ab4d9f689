"""The menu: the presets with a description of the highlighted one, and the runs, live ones first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList, Static

from torchconsole.engine.config.library import PresetEntry, list_presets
from torchconsole.engine.errors import RunError
from torchconsole.tui.actions import Action
from torchconsole.tui.printable import printable
from torchconsole.tui.screens.help import HelpScreen
from torchconsole.tui.screens.menu_lists import PresetList, RunList
from torchconsole.tui.widgets.lines import Line, LineWidget, spread

if TYPE_CHECKING:
    from torchconsole.engine.runtime.run_folder import RunRecord

REFRESH_SECONDS = 1.5

MENU_ACTIONS = (
    Action(
        "choose", ("enter",), "enter", "start or attach", "Start the preset, or attach to the run", "always"
    ),
    Action("other_list", ("tab", "shift+tab"), "tab", "other list", "Go to the other list", "always"),
    Action("help", ("question_mark",), "?", "help", "Show this help", "always"),
    Action("leave", ("q", "ctrl+c", "ctrl+q"), "q", "quit", "Quit; the runs go on", "always"),
)


class MenuKeys(LineWidget):
    """The last line: the keys, and where one is."""

    def draw(self, width: int, height: int) -> list[Line]:
        """Key and label of each action; the machine's name where there is room."""
        keys = [part for a in MENU_ACTIONS for part in ((a.shown_key, "key"), (f" {a.label}  ", "muted"))]
        return [spread(keys, [("torchconsole", "strong"), (f" on {gethostname()}", "muted")], width)]


class MenuScreen(Screen[None]):
    """Says which preset the user wants to start and which run to see; the app does it."""

    BINDINGS = [action.binding for action in MENU_ACTIONS[1:]]  # the lists bind enter themselves
    DEFAULT_CSS = """
    MenuScreen {
        #chooser { height: 1fr; }
        PresetList, #about, RunList {
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
        PresetList { width: 4fr; height: 100%; }
        #about { width: 5fr; }
        RunList { height: 1fr; }
        MenuKeys { height: 1; padding: 0 1; background: $panel; }
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
    class RunChosen(Message):
        """The user wants to see this run."""

        run: RunRecord

    def __init__(self, runs_dir: Path | None) -> None:
        super().__init__()
        self._runs_dir = runs_dir
        self._presets = list_presets()

    def compose(self) -> ComposeResult:
        """Presets and description side by side, the runs below."""
        with Horizontal(id="chooser"):
            yield PresetList(self._presets)
            with VerticalScroll(id="about", can_focus=False):
                yield Static(id="description", markup=False)
        yield RunList()
        yield MenuKeys()

    def on_mount(self) -> None:
        """Everything that can wait for the first frame does."""
        self.call_after_refresh(self._first_frame_is_shown)

    def _first_frame_is_shown(self) -> None:
        self.post_message(self.Shown())
        self._follow_runs()

    @on(OptionList.OptionHighlighted, "PresetList")
    def describe(self) -> None:
        """Say more about the highlighted preset."""
        preset = self.query_one(PresetList).chosen
        if preset is not None:
            self.query_one("#about").border_title = Content(f" {printable(preset.title)} ")
            path = (printable(_short(preset.path)), "dim")
            text = Content.assemble(printable(preset.description), "\n\n", path)
            self.query_one("#description", Static).update(text)

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

    @work
    async def _follow_runs(self) -> None:
        """Keep the list of runs up to date while the menu is seen."""
        from torchconsole.engine.runtime.registry import list_runs

        listed = self.query_one(RunList)
        while True:
            if self.is_current:
                try:
                    listed.show(await asyncio.to_thread(list_runs, self._runs_dir))
                except (RunError, OSError) as error:
                    listed.tell(f"cannot be listed: {error}")
            await asyncio.sleep(REFRESH_SECONDS)


def _short(path: Path) -> str:
    """The path as a person in this folder would write it."""
    for base, mark in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if path.is_relative_to(base):
            return str(mark / path.relative_to(base))
    return str(path)
