"""The form: a preset's settings, checked as they are typed, to be started or saved as an own preset."""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from torchconsole.engine.client.catalogue_cache import load_catalogue
from torchconsole.engine.config.draft import Draft, concerns, find_mistakes
from torchconsole.engine.config.preset_index import PresetEntry, find_preset
from torchconsole.engine.config.preset_keys import known_keys
from torchconsole.engine.config.schema import Precision
from torchconsole.engine.errors import RunError
from torchconsole.engine.text import printable
from torchconsole.tui.screens.dialogs import Choice, ChoiceScreen, HelpScreen
from torchconsole.tui.screens.form_actions import FORM_ACTIONS
from torchconsole.tui.screens.preset_dialogs import SaveScreen
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.form_fields import KeySearch, SettingRow
from torchconsole.tui.widgets.preset_preview import short_path

if TYPE_CHECKING:
    from torchconsole.engine.config.catalogue import Catalogue

PAUSE_SECONDS = 0.15
"""How long nothing must be typed before it is checked."""

COMMON = {
    "training.epochs": "epochs",
    "data.batch_size": "batch size",
    "optimizer.lr": "learning rate",
    "training.device": "device",
    "training.precision": "precision",
    "training.seed": "seed",
    "early_stopping.patience": "patience",
}
"""The keys that every form shows, and what they are called there."""

SUGGESTIONS = {
    "training.device": ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps"),
    "training.precision": get_args(Precision),
}
HINTS = {"early_stopping.patience": "off: type a number"}


class FormScreen(Screen[None]):
    """Keeps what is typed in a `Draft`; starting is the app's. Raises PresetError for a broken preset."""

    BINDINGS = [action.binding for action in FORM_ACTIONS]
    DEFAULT_CSS = """
    FormScreen {
        #settings, #problems {
            border-top: solid $foreground 25%;
            border-title-color: $foreground;
            border-title-style: bold;
            padding: 0 1;
            scrollbar-size-vertical: 1;
        }
        #settings { height: 1fr; }
        #problems { height: auto; min-height: 2; max-height: 8; }
        #meaning { height: auto; padding: 0 1; color: $foreground 70%; }
        ActionBar { height: 1; padding: 0 1; background: $panel; }
    }
    """

    @dataclass
    class Left(Message):
        """The user is done with the form."""

        screen: FormScreen

    @dataclass
    class TrainWanted(Message):
        """The user wants to start this preset with these overrides."""

        preset: PresetEntry
        overrides: list[str]

    def __init__(self, preset: PresetEntry) -> None:
        super().__init__()
        self._preset = preset
        self._draft = Draft(preset.path)
        self._catalogue: Catalogue | None = None
        self._known = known_keys(self._draft.base, None)
        self._mistakes: list[str] = []
        self._remark = "looking at what torch offers..."
        # CachedRender, not looked for: what was typed last is heard while the screen is taken down, too.
        self._settings = VerticalScroll(id="settings", can_focus=False)
        self._key_search = KeySearch(self._known)
        self._problems = VerticalScroll(id="problems", can_focus=False)
        self._told = Static(markup=False)
        self._meaning = Static(id="meaning", markup=False)

    def compose(self) -> ComposeResult:
        """The common settings, those that were added, a line for another; what is wrong; the keys."""
        with self._settings:
            for key, name in COMMON.items():
                yield self._row(key, name)
            yield self._key_search
        with self._problems:
            yield self._told
        yield self._meaning
        yield ActionBar(FORM_ACTIONS)

    def on_mount(self) -> None:
        """Check what is there, and have the names of torch's classes looked up."""
        self._show()
        self._check()
        self._look_up_catalogue()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Take in what was typed."""
        row = event.input.parent
        if isinstance(row, SettingRow):
            self._draft.set(row.key, event.value)
            self._show()
            self._check()

    def on_descendant_focus(self) -> None:
        """Tell the field's key, and what it means in full."""
        row = self.focused.parent if self.focused else None
        text = f"{row.key}: {row.meaning}" if isinstance(row, SettingRow) else ""
        self._meaning.update(printable(text))

    async def on_key_search_chosen(self, event: KeySearch.Chosen) -> None:
        """Give the key a row of its own, or go to the one that it has."""
        key, _, value = event.key.partition("=")  # as `--set` takes it, too
        row = next((row for row in self._rows if row.key == key.strip()), None)
        if row is None:
            row = self._row(key.strip(), key.strip())
            await self._settings.mount(row, before=self._key_search)
            self._show()
        if value:
            row.input.value = value.strip()
        self.set_focus(row.input)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The line for another key takes enter itself, behind the letters that were typed before it."""
        return action != "accept" or not self._key_search.input.has_focus

    def action_next_field(self) -> None:
        """One down."""
        if not self._key_search.move(1):
            self.focus_next(Input)

    action_accept = action_next_field

    def action_previous_field(self) -> None:
        """One up."""
        if not self._key_search.move(-1):
            self.focus_previous(Input)

    def action_new_key(self) -> None:
        """Go to the line for another key."""
        self.set_focus(self._key_search.input)

    async def action_reset_field(self) -> None:
        """Take back one field; an added one that is as it was goes away."""
        row = self.focused.parent if self.focused else None
        if not isinstance(row, SettingRow):
            return
        if row.key in COMMON or row.key in self._draft.changes:
            row.reset()
        else:
            self.focus_previous(Input)
            await row.remove()

    async def action_reset_all(self) -> None:
        """Take back everything, and what was added goes away."""
        self._draft.reset()
        for row in self._rows:
            row.reset()
            if row.key not in COMMON:
                await row.remove()
        self._check()

    def action_train(self) -> None:
        """Start a run."""
        self.post_message(self.TrainWanted(self._preset, self._draft.overrides))

    def action_save(self) -> None:
        """Ask for a name, and save; a preset with mistakes would be refused wherever it is used."""
        if self._mistakes:
            self.notify("mend the mistakes first, then save", severity="warning", markup=False)
            return
        self.app.push_screen(SaveScreen(self._draft), self._saved)

    def _saved(self, path: Path | None) -> None:
        """Go on with what was saved: it is the original now."""
        if path is None:
            return
        self.notify(printable(f"saved in {short_path(path)}"), markup=False)
        self.app.switch_screen(FormScreen(find_preset(str(path))))

    def action_leave(self) -> None:
        """Back to the menu; asks before changes are lost."""
        if not self._draft.changes:
            self.post_message(self.Left(self))
            return
        question = ChoiceScreen(
            f"Leave {printable(self._preset.name)} as it was?",
            f"You have changed {_count(self._draft.changes, 'setting')} and not saved that.",
            [Choice(("y",), "leave", "leave without saving"), Choice(("s",), "save", "save as a preset")],
        )
        self.app.push_screen(question, self._answered)

    def _answered(self, choice: str | None) -> None:
        if choice == "leave":
            self.post_message(self.Left(self))
        elif choice == "save":
            self.action_save()

    def action_help(self) -> None:
        """Show what the keys do."""
        self.app.push_screen(HelpScreen(FORM_ACTIONS))

    @property
    def _rows(self) -> list[SettingRow]:
        return list(self.query(SettingRow))

    def _row(self, key: str, name: str) -> SettingRow:
        meaning = self._known.get(key, "")
        return SettingRow(
            key, name, self._draft.original(key), meaning, SUGGESTIONS.get(key, ()), HINTS.get(key, "")
        )

    @work(exclusive=True, group="check")
    async def _check(self) -> None:
        """Once the typing pauses, hold the changed preset against everything that is known."""
        await asyncio.sleep(PAUSE_SECONDS)
        draft, catalogue = self._draft, self._catalogue
        look = partial(find_mistakes, draft.base, dict(draft.changes), catalogue)
        self._mistakes = await asyncio.to_thread(look)
        self._show()

    @work
    async def _look_up_catalogue(self) -> None:
        """Where it is not written yet, a process with torch does that, which takes seconds."""
        try:
            self._catalogue = await asyncio.to_thread(load_catalogue)
            self._remark = ""
        except RunError as error:
            self._remark = f"names and arguments are not checked: {error}"
        self._known = known_keys(self._draft.base, self._catalogue)
        self._key_search.known = self._known
        self._check()

    def _show(self) -> None:
        """Show how every field and the whole stand."""
        changes, mistakes = self._draft.changes, self._mistakes
        for row in self._rows:
            is_wrong = any(concerns(line, row.key) for line in mistakes)
            row.show_status(is_modified=row.key in changes, is_wrong=is_wrong)
        modified = f" · modified: {_count(changes, 'setting')}" if changes else ""
        self._settings.border_title = Content(f" {printable(self._preset.name)}{modified} ")
        self._problems.border_title = f" {_count(mistakes, 'mistake')} " if mistakes else " no mistakes "
        lines = [*mistakes, *filter(None, [self._remark])]
        self._told.update("\n".join(map(printable, lines)))


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
