"""The form: edits the settings of a preset or a run and checks them, starts a run, saves a preset."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input, Static

from torchconsole.engine.config.draft import concerns
from torchconsole.engine.config.preset_index import PresetEntry, find_preset
from torchconsole.engine.config.preset_keys import KeyInfo
from torchconsole.engine.text import printable
from torchconsole.tui.form_texts import count, describe_key, describe_state, short_meaning
from torchconsole.tui.keys import FORM, FORM_KEYS, bindings
from torchconsole.tui.screens.dialogs import LeaveFormScreen
from torchconsole.tui.screens.form_check import NO_ERRORS, CheckedDraft, checked_draft
from torchconsole.tui.screens.form_content import form_content
from torchconsole.tui.screens.form_finder import find_settings
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.screens.pick import PickScreen
from torchconsole.tui.screens.preset_dialogs import SaveScreen
from torchconsole.tui.widgets.form_bar import FormBar
from torchconsole.tui.widgets.form_fields import FieldInput, SettingRow
from torchconsole.tui.widgets.pick_list import Pick
from torchconsole.tui.widgets.preset_preview import short_path

if TYPE_CHECKING:
    from torchconsole.engine.config.program_arguments import ProgramArguments
    from torchconsole.engine.protocol.reports import CheckReport

CHECK_DELAY_SECONDS = 0.15
"""The settings are checked once nothing was typed for this long."""

WIDE, HIGH, TINY = 120, 22, 18
"""From so many columns on, the lr is beside the settings; else it needs so many rows, to be below them.

With fewer than TINY rows, errors take no room while there are none.
"""


class FormScreen(KeyedScreen):
    """Keeps the changes in a `Draft`. The app starts the run. `key` is the key to begin with.

    `run` is the name of the run whose settings these are, if they are not a preset's.

    Raises PresetError for a broken preset.
    """

    SECTIONS = FORM_KEYS
    BINDINGS = bindings(FORM)

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

    def __init__(self, preset: PresetEntry, key: str = "", run: str = "") -> None:
        super().__init__()
        self._preset = preset
        self._run = run
        self._first_key = key
        self._content = form_content(preset.path)
        self._draft = self._content.draft
        self._errors: list[str] = []
        self._warnings: dict[str, str] = {}
        self._checked: CheckedDraft | None = None
        self._status = "reading the names that torch offers..."
        # Kept instead of queried: the last Input.Changed can arrive while the screen is being removed.
        self._settings = self._content.rows
        self._settings.added += [key] if key else []
        self._side = self._content.side
        self._error_list = VerticalScroll(id="errors", can_focus=False)
        self._messages = Static(markup=False)
        self._meaning = Static(id="meaning", markup=False)
        self._action_bar = FormBar(lambda: self.starts_anyway, lambda: self.can_choose)

    def compose(self) -> ComposeResult:
        """Lay out the settings, the lr, the meaning of the field, the errors, and the keys."""
        with Horizontal(id="body"):
            yield self._settings
            with Vertical(id="side"):
                yield self._side
                yield self._meaning
        with self._error_list:
            yield self._messages
        yield self._action_bar

    def on_mount(self) -> None:
        """Check the draft, and read in the background what takes long."""
        self._lay_out(*self.app.size)
        self._check()
        self._load()
        self.call_after_refresh(self._focus_first)
        if self._content.begins_with_check:
            self.action_check()

    def _focus_first(self) -> None:
        rows = self._settings.rows
        self.set_focus((rows.get(self._first_key) or next(iter(rows.values()))).input)
        self._show()

    def on_resize(self, event: Resize) -> None:
        """Lay the parts out for the new size."""
        self._lay_out(*event.size)

    def _lay_out(self, width: int, height: int) -> None:
        self.set_class(width >= WIDE, "-wide")
        self.set_class(width >= WIDE and height >= HIGH, "-framed")
        self.set_class(height < TINY, "-tiny")
        self._side.boxed = width >= WIDE and height >= HIGH
        self._side.display = width >= WIDE or height >= HIGH
        self._side.redraw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Apply a typed value."""
        row = event.input.parent
        if not isinstance(row, SettingRow) or self._settings.rows.get(row.key) is not row:
            return
        before = dict(self._draft.changes)
        self._draft.set(row.key, event.value)
        if self._draft.changes != before:  # a new row reports its first value
            self._show()
            self._check()

    def on_descendant_focus(self) -> None:
        """Show the key of the focused field and its full meaning."""
        self._show_meaning()
        self._action_bar.redraw()

    def _show_meaning(self) -> None:
        """Show what the focused field is, what it can be, and what is wrong with it."""
        row = self._settings.focused_row
        if row is None:
            return
        info = self._settings.infos.get(row.key, KeyInfo(""))
        self._meaning.update(describe_key(row.key, info, row.problem))

    async def _go_to(self, key: str) -> SettingRow:
        """Focus the row of a key, which is added if there is none."""
        if key not in self._settings.rows:
            self._settings.added.append(key)
            await self._settings.show(self._needed)
        row = self._settings.rows[key]
        self.set_focus(row.input)
        return row

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """All keys of the form work while typing."""
        return True

    @property
    def can_choose(self) -> bool:
        """Whether the focused field has values to choose from."""
        row = self._settings.focused_row
        return row is not None and bool(self._settings.choices(row.key))

    def action_next_field(self) -> None:
        """Go to the next field."""
        self.focus_next(Input)

    def action_previous_field(self) -> None:
        """Go to the previous field."""
        self.focus_previous(Input)

    def action_page_down(self) -> None:
        """Go down by a page."""
        self._settings.step_pages(1)

    def action_page_up(self) -> None:
        """Go up by a page."""
        self._settings.step_pages(-1)

    def action_accept(self) -> None:
        """Show the values of the field, or go to the next one if it has none."""
        if self.can_choose:
            self.action_choose()
        else:
            self.action_next_field()

    def action_choose(self) -> None:
        """Show what the value of the focused field can be."""
        if (row := self._settings.focused_row) is not None:
            self._choose(row)

    def on_field_input_choices_requested(self, event: FieldInput.ChoicesRequested) -> None:
        """Show what the value can be."""
        if (row := self._settings.rows.get(event.input.field.key)) is not None:
            self._choose(row)

    def _choose(self, row: SettingRow) -> None:
        choices = self._settings.choices(row.key)
        if not choices:
            self.notify(f"{row.key} has no fixed values: type one", markup=False)
            return

        def on_answer(value: str | None) -> None:
            if value is not None:
                row.set_value(value)

        self.app.push_screen(
            PickScreen(row.key, [Pick(one) for one in choices], "type to search", row.input.value), on_answer
        )

    def action_new_key(self) -> None:
        """Find a key by its name or by what it means. `key=value`, as for `--set`, also sets the value."""
        infos = self._settings.infos
        picks = [
            Pick(key, self._settings.shown_value(key), short_meaning(info)) for key, info in infos.items()
        ]
        hint = "search all keys, or type key=value"
        self.app.push_screen(PickScreen("keys", picks, hint, check=self._draft.problem_of), self._on_picked)

    async def _on_picked(self, answer: str | None) -> None:
        if answer is None:
            return
        key, _, value = answer.partition("=")
        row = await self._go_to(key)
        if value:
            row.set_value(value)

    async def action_reset_field(self) -> None:
        """Reset the focused field. Remove an added field that is unchanged."""
        row = self._settings.focused_row
        if row is None:
            return
        if row.key in self._draft.changes:
            row.reset()
        elif row.key in self._settings.added:
            self._settings.added.remove(row.key)
            self.focus_previous(Input)
            await self._settings.show(self._needed)

    async def action_reset_all(self) -> None:
        """Reset all fields, and remove the added ones."""
        self._draft.reset()
        self._settings.added.clear()
        for row in self._settings.rows.values():
            row.reset()
        await self._settings.show(keeps_focused=False)
        self._check()

    def action_train(self) -> None:
        """Ask the app to start a run, in spite of the errors that a check of these settings has shown."""
        if self._content.is_refused:
            self.notify("fix the errors first, then start", severity="warning", markup=False)
            return
        self.post_message(self.TrainRequested(self._preset, self._draft.overrides, anyway=self.starts_anyway))

    def action_check(self) -> None:
        """Ask the app for a dry run, unless there are errors already."""
        if self._errors:
            self.notify("fix the errors first, then check", severity="warning", markup=False)
            return
        self._checked = CheckedDraft(self._draft.overrides, [self._content.checking], "checking")
        self.post_message(self.CheckRequested(self, self._preset, self._draft.overrides))
        self._show()

    @work(exclusive=True, group="find")
    async def action_find(self) -> None:
        """Find an lr, a batch size or data loader workers, and take the answer over as changes."""
        for setting in await find_settings(self.app, self._preset, self._draft.overrides):
            await self._on_picked(setting)

    def show_check(self, overrides: list[str], result: CheckReport | ProgramArguments | str | None) -> None:
        """Show the report of a dry run, its error, or nothing; the settings may have changed since."""
        if self._content.begins_with_check and result is not None and overrides != self._draft.overrides:
            self.action_check()  # with what was typed meanwhile
            return
        self._checked = None if result is None else checked_draft(overrides, result, self._content.failed)
        if self._content.use(result):
            self._show_new_rows()
        self._show()
        self._preview()

    @work
    async def _show_new_rows(self) -> None:
        """Show the rows that a check has found, and begin with the first."""
        self._settings.infos = (await self._content.look()).infos
        await self._settings.show(keeps_focused=False)
        self._focus_first()
        self._check()

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
        """Ask for a name and a title, and save, unless there are errors: such a preset could not be used."""
        if self._errors:
            self.notify("fix the errors first, then save", severity="warning", markup=False)
            return
        self.app.push_screen(
            SaveScreen(self._draft, self._preset.name, of_run=bool(self._run)), self._on_saved
        )

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
        question = LeaveFormScreen(self._run or self._preset.name, count(self._draft.changes, "setting"))
        self.app.push_screen(question, self._on_leave_answer)

    def _on_leave_answer(self, choice: str | None) -> None:
        if choice == "leave":
            self.post_message(self.CloseRequested(self))
        elif choice == "save":
            self.action_save()

    @property
    def _needed(self) -> set[str]:
        """Keys that need a row because something is wrong with them."""
        wrong = {line.partition(": ")[0] for line in self._errors}
        return (wrong & self._settings.infos.keys()) | self._warnings.keys()

    @work(exclusive=True, group="check")
    async def _check(self) -> None:
        """Check the changed preset once the user stops typing, and show the rows that it needs."""
        await asyncio.sleep(CHECK_DELAY_SECONDS)
        self._errors, self._warnings, self._settings.infos = await self._content.look()
        if not self._settings.is_attached:
            return  # the form was closed meanwhile
        await self._settings.show(self._needed)
        self._show()
        self._preview()

    @work
    async def _load(self) -> None:
        """Read what takes long, and check with it."""
        self._status = await self._content.load()
        self._check()

    @work(exclusive=True, group="preview")
    async def _preview(self) -> None:
        """Show what follows from the present settings."""
        await self._content.preview(self._errors, self._warnings)

    def _show(self) -> None:
        """Show the state of every field, the number of changes, and the errors."""
        changes, errors = self._draft.changes, self._errors
        for row in self._settings.rows.values():
            wrong = next((line for line in errors if concerns(line, row.key)), "")
            problem = wrong.partition(": ")[2] or wrong or self._warnings.get(row.key, "")
            row.show_status(is_modified=row.key in changes, problem=problem, is_wrong=bool(wrong))
        modified = f" · modified: {count(changes, 'setting')}" if changes else ""
        name = f"settings of {self._run}" if self._run else self._preset.name
        self._settings.border_title = Content(f" {printable(name)}{modified} ")
        checked = self._valid_check
        found = checked.title if checked else NO_ERRORS
        self._error_list.border_title = f" {describe_state(errors, self._warnings, found)} "
        warnings = [f"{key}: {text}" for key, text in self._warnings.items()]
        lines = [*errors, *warnings, *filter(None, [self._status]), *(checked.lines if checked else [])]
        self._error_list.display = bool(lines) or not self.has_class("-tiny")
        self._action_bar.redraw()
        self._messages.update("\n".join(map(printable, lines)))
        self._show_meaning()
