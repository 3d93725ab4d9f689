"""The form: edits a preset's settings, checks them while typing, starts a run or saves a new preset."""

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
from torchconsole.engine.config.draft import Draft, concerns, draft_errors
from torchconsole.engine.config.preset_index import PresetEntry, find_preset
from torchconsole.engine.config.preset_keys import known_keys
from torchconsole.engine.config.schema import Precision
from torchconsole.engine.errors import RunError
from torchconsole.engine.text import printable
from torchconsole.tui.actions import Action
from torchconsole.tui.screens.dialogs import Choice, ChoiceScreen, HelpScreen
from torchconsole.tui.screens.form_check import NO_ERRORS, CheckedDraft, checked_draft
from torchconsole.tui.screens.preset_dialogs import SaveScreen
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.form_fields import KeySearch, SettingRow
from torchconsole.tui.widgets.preset_preview import short_path

if TYPE_CHECKING:
    from torchconsole.engine.config.catalogue import Catalogue
    from torchconsole.engine.protocol.reports import CheckReport

# Letters are typed into the fields, so the keys here are others.
# fmt: off
FORM_ACTIONS = (
    Action("train", ("ctrl+t",), "ctrl+t", "train", "Start a run with these settings", "always"),
    Action("check", ("f5",), "f5", "check", "Check these settings by a dry run", "always"),
    Action("save", ("ctrl+s",), "ctrl+s", "save as", "Save as a preset of your own", "always"),
    Action("reset_field", ("ctrl+r",), "ctrl+r", "reset", "Reset this field", "always", 2),
    Action("reset_all", ("ctrl+o",), "ctrl+o", "original", "Reset all fields", "always", 3),
    Action("new_key", ("ctrl+n",), "ctrl+n", "other key", "Set any other key", "always", 1),
    Action("next_field", ("down", "tab"), "", "", "Go to the next field or key", "always"),
    Action("previous_field", ("up", "shift+tab"), "", "", "Go to the previous field or key", "always"),
    Action("accept", ("enter",), "", "", "Go to the next field, or take the highlighted key", "always"),
    Action("leave", ("escape", "ctrl+c", "ctrl+q"), "esc", "back",
           "Go back to the menu; asks if there are changes", "always"),
    Action("help", ("f1",), "f1", "help", "Show this help", "always"),
)
# fmt: on

CHECK_DELAY_SECONDS = 0.15
"""The settings are checked once nothing was typed for this long."""

OWN_DATA = {"data.root": "data", "data.text": "text column", "data.target": "target column"}
"""Keys that a preset for data of the user's sets, and the user must adapt, with their labels."""

COMMON = {
    "training.epochs": "epochs",
    "data.batch_size": "batch size",
    "optimizer.lr": "learning rate",
    "training.device": "device",
    "training.precision": "precision",
    "training.seed": "seed",
    "early_stopping.patience": "patience",
}
"""The keys that every form shows, with their labels."""

SUGGESTED_VALUES = {
    "training.device": ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps"),
    "training.precision": get_args(Precision),
}
PLACEHOLDERS = {"early_stopping.patience": "off: type a number"}


class FormScreen(Screen[None]):
    """Keeps the changes in a `Draft`. The app starts the run. Raises PresetError for a broken preset."""

    BINDINGS = [action.binding for action in FORM_ACTIONS]

    @dataclass
    class CloseRequested(Message):
        """The user leaves the form."""

        screen: FormScreen

    @dataclass
    class TrainRequested(Message):
        """The user wants to start a run of this preset with these overrides."""

        preset: PresetEntry
        overrides: list[str]
        anyway: bool

    @dataclass
    class CheckRequested(Message):
        """The user wants a dry run with these overrides. The app answers with `show_check`."""

        screen: FormScreen
        preset: PresetEntry
        overrides: list[str]

    def __init__(self, preset: PresetEntry) -> None:
        super().__init__()
        self._preset = preset
        self._draft = Draft(preset.path)
        self._catalogue: Catalogue | None = None
        self._known = known_keys(self._draft.base, None)
        self._fixed = {key: name for key, name in OWN_DATA.items() if self._draft.has(key)} | COMMON
        self._errors: list[str] = []
        self._checked: CheckedDraft | None = None
        self._status = "reading the names that torch offers..."
        # Kept instead of queried: the last Input.Changed can arrive while the screen is being removed.
        self._settings = VerticalScroll(id="settings", can_focus=False)
        self._key_search = KeySearch(self._known)
        self._error_list = VerticalScroll(id="errors", can_focus=False)
        self._messages = Static(markup=False)
        self._meaning = Static(id="meaning", markup=False)
        self._action_bar = FormBar(self)

    def compose(self) -> ComposeResult:
        """Lay out the settings, the line for another key, the errors, the meaning of the field, the keys."""
        with self._settings:
            for key, name in self._fixed.items():
                yield self._row(key, name)
            yield self._key_search
        with self._error_list:
            yield self._messages
        yield self._meaning
        yield self._action_bar

    def on_mount(self) -> None:
        """Check the preset, and read the catalogue of torch's classes in the background."""
        self._show()
        self._check()
        self._load_catalogue()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Apply a typed value."""
        row = event.input.parent
        if isinstance(row, SettingRow):
            self._draft.set(row.key, event.value)
            self._show()
            self._check()

    def on_descendant_focus(self) -> None:
        """Show the key of the focused field and its full meaning."""
        row = self.focused.parent if self.focused else None
        text = f"{row.key}: {row.meaning}" if isinstance(row, SettingRow) else ""
        self._meaning.update(printable(text))

    async def on_key_search_chosen(self, event: KeySearch.Chosen) -> None:
        """Add a row for the key, or go to its row. `key=value`, as for `--set`, also sets the value."""
        key, _, value = event.key.partition("=")
        row = next((row for row in self._rows if row.key == key.strip()), None)
        if row is None:
            row = self._row(key.strip(), key.strip())
            await self._settings.mount(row, before=self._key_search)
            self._show()
        if value:
            row.input.value = value.strip()
        self.set_focus(row.input)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave enter to the line for another key, so that it comes after the letters typed before it."""
        return action != "accept" or not self._key_search.input.has_focus

    def action_next_field(self) -> None:
        """Go to the next field or suggested key."""
        if not self._key_search.move(1):
            self.focus_next(Input)

    action_accept = action_next_field

    def action_previous_field(self) -> None:
        """Go to the previous field or suggested key."""
        if not self._key_search.move(-1):
            self.focus_previous(Input)

    def action_new_key(self) -> None:
        """Go to the line for another key."""
        self.set_focus(self._key_search.input)

    async def action_reset_field(self) -> None:
        """Reset the focused field. Remove an added field that is unchanged."""
        row = self.focused.parent if self.focused else None
        if not isinstance(row, SettingRow):
            return
        if row.key in self._fixed or row.key in self._draft.changes:
            row.reset()
        else:
            self.focus_previous(Input)
            await row.remove()

    async def action_reset_all(self) -> None:
        """Reset all fields, and remove the added ones."""
        self._draft.reset()
        for row in self._rows:
            row.reset()
            if row.key not in self._fixed:
                await row.remove()
        self._check()

    def action_train(self) -> None:
        """Ask the app to start a run, in spite of the errors that a check of these settings has shown."""
        self.post_message(self.TrainRequested(self._preset, self._draft.overrides, anyway=self.starts_anyway))

    def action_check(self) -> None:
        """Ask the app for a dry run, unless there are errors already."""
        if self._errors:
            self.notify("fix the errors first, then check", severity="warning", markup=False)
            return
        self._checked = CheckedDraft(self._draft.overrides, ["checking by a dry run..."], "checking")
        self.post_message(self.CheckRequested(self, self._preset, self._draft.overrides))
        self._show()

    def show_check(self, overrides: list[str], result: CheckReport | str | None) -> None:
        """Show the report of a dry run, its error, or nothing; the settings may have changed since."""
        self._checked = None if result is None else checked_draft(overrides, result)
        self._show()

    @property
    def starts_anyway(self) -> bool:
        """Whether a check of the present settings has found errors that a start has to overrule."""
        return self._valid_check is not None and self._valid_check.can_start_anyway

    @property
    def _valid_check(self) -> CheckedDraft | None:
        """The last check, unless the settings have changed since."""
        checked = self._checked
        return checked if checked is not None and checked.overrides == self._draft.overrides else None

    def action_save(self) -> None:
        """Ask for a name and save, unless there are errors: such a preset could not be used."""
        if self._errors:
            self.notify("fix the errors first, then save", severity="warning", markup=False)
            return
        self.app.push_screen(SaveScreen(self._draft), self._on_saved)

    def _on_saved(self, path: Path | None) -> None:
        """Open the form on the saved preset."""
        if path is None:
            return
        self.notify(printable(f"saved in {short_path(path)}"), markup=False)
        self.app.switch_screen(FormScreen(find_preset(str(path))))

    def action_leave(self) -> None:
        """Return to the menu. Ask first if there are unsaved changes."""
        if not self._draft.changes:
            self.post_message(self.CloseRequested(self))
            return
        question = ChoiceScreen(
            f"Discard the changes to {printable(self._preset.name)}?",
            f"You have changed {_count(self._draft.changes, 'setting')} without saving.",
            [Choice(("y",), "leave", "leave without saving"), Choice(("s",), "save", "save as a preset")],
        )
        self.app.push_screen(question, self._on_leave_answer)

    def _on_leave_answer(self, choice: str | None) -> None:
        if choice == "leave":
            self.post_message(self.CloseRequested(self))
        elif choice == "save":
            self.action_save()

    def action_help(self) -> None:
        """Show the help."""
        self.app.push_screen(HelpScreen(FORM_ACTIONS))

    @property
    def _rows(self) -> list[SettingRow]:
        return list(self.query(SettingRow))

    def _row(self, key: str, name: str) -> SettingRow:
        meaning = self._known.get(key, "")
        return SettingRow(
            key,
            name,
            self._draft.original(key),
            meaning,
            SUGGESTED_VALUES.get(key, ()),
            PLACEHOLDERS.get(key, ""),
        )

    @work(exclusive=True, group="check")
    async def _check(self) -> None:
        """Check the changed preset once the user stops typing."""
        await asyncio.sleep(CHECK_DELAY_SECONDS)
        draft, catalogue = self._draft, self._catalogue
        check = partial(draft_errors, draft.base, dict(draft.changes), catalogue)
        self._errors = await asyncio.to_thread(check)
        self._show()

    @work
    async def _load_catalogue(self) -> None:
        """Read the catalogue. If there is none yet, a process with torch writes it, which takes seconds."""
        try:
            self._catalogue = await asyncio.to_thread(load_catalogue)
            self._status = ""
        except RunError as error:
            self._status = f"names and arguments are not checked: {error}"
        self._known = known_keys(self._draft.base, self._catalogue)
        self._key_search.known = self._known
        self._check()

    def _show(self) -> None:
        """Show the state of every field, the number of changes, and the errors."""
        changes, errors = self._draft.changes, self._errors
        for row in self._rows:
            is_wrong = any(concerns(line, row.key) for line in errors)
            row.show_status(is_modified=row.key in changes, is_wrong=is_wrong)
        modified = f" · modified: {_count(changes, 'setting')}" if changes else ""
        self._settings.border_title = Content(f" {printable(self._preset.name)}{modified} ")
        checked = self._valid_check
        found = checked.title if checked else NO_ERRORS
        self._error_list.border_title = f" {_count(errors, 'error') if errors else found} "
        lines = [*errors, *filter(None, [self._status]), *(checked.lines if checked else [])]
        self._action_bar.redraw()
        self._messages.update("\n".join(map(printable, lines)))


class FormBar(ActionBar):
    """The form's keys. A start that has to overrule the errors of a check is called so."""

    def __init__(self, form: FormScreen) -> None:
        super().__init__(FORM_ACTIONS)
        self._form = form

    def label(self, action: Action) -> str:
        """Return the label in the present state."""
        return "start anyway" if action.id == "train" and self._form.starts_anyway else action.label


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
