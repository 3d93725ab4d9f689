"""The rows of the form, in groups: which keys have one, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.scrollbar import ScrollTo
from textual.widgets import Input

from torchconsole.engine.config.draft import Draft
from torchconsole.engine.config.preset_keys import KeyInfo
from torchconsole.tui.form_data import table_columns
from torchconsole.tui.form_rows import group_of, label_of, placeholder, shown_keys
from torchconsole.tui.widgets.form_fields import Field, SettingRow


class SettingRows(VerticalScroll):
    """Shows a row for each key that the draft needs, and for those that the user has `added`.

    `infos` says what the keys mean; it changes with the components that the draft names.
    """

    def __init__(self, draft: Draft, infos: dict[str, KeyInfo]) -> None:
        super().__init__(id="settings", can_focus=False)
        self.infos = infos
        self.added: list[str] = []
        self.rows: dict[str, SettingRow] = {}
        self._draft = draft
        self._is_elsewhere = False  # the mouse has scrolled away from the field that has the focus

    def compose(self) -> ComposeResult:
        """The rows of the preset as it is."""
        self.rows = {key: SettingRow(self.field(key)) for key in self.shown_keys(self.added)}
        yield from self.rows.values()

    def on_mount(self) -> None:
        """Name the groups."""
        self._show_groups()

    @property
    def focused_row(self) -> SettingRow | None:
        """The row that has the focus."""
        focused = self.screen.focused if self.is_attached else None
        parent = focused.parent if focused else None
        return parent if isinstance(parent, SettingRow) else None

    def choices(self, key: str) -> tuple[str, ...]:
        """Return the values to choose from."""
        if key == "data.target":
            return tuple(table_columns(self._draft.content))
        info = self.infos.get(key)
        return info.choices if info else ()

    def shown_value(self, key: str) -> str:
        """Return a value, or the default in brackets."""
        info = self.infos[key]
        return self._draft.text(key) or (f"({info.default})" if info.default else "")

    def step(self, count: int) -> None:
        """Move the focus by some rows, at most to the ends."""
        rows, row = list(self.rows.values()), self.focused_row
        place = rows.index(row) if row in rows else 0
        self.screen.set_focus(rows[max(0, min(place + count, len(rows) - 1))].input)

    def step_pages(self, pages: int) -> None:
        """Move the focus by pages."""
        self.step(pages * max(1, self.size.height - 1))

    async def show(self, needed: Iterable[str] = (), *, keeps_focused: bool = True) -> None:
        """Add the rows that the draft and `needed` keys want now, and remove those that nothing takes."""
        draft = self._draft
        applied = draft.applied
        removed = {key for key, text in applied.items() if not text} - draft.changes.keys()
        focused = self.focused_row
        keys = {*self.added, *draft.changes, *needed}
        if focused is not None and keeps_focused:
            keys.add(focused.key)
        wanted = [key for key in self.shown_keys(keys) if key not in removed]
        self.rows = {key: self.rows.get(key) or SettingRow(self.field(key)) for key in wanted}
        for key, row in self.rows.items():
            row.show_field(self.field(key))
        await self._mount_new(wanted)
        if focused is not None and focused.key not in wanted and wanted:
            self.screen.set_focus(self.rows[wanted[0]].input)
        self._show_groups()
        for row in self.query(SettingRow):  # also what a cancelled call has left
            if self.rows.get(row.key) is not row:
                await row.remove()
        self._show_focused()  # new rows may have pushed it out of view

    def on_resize(self) -> None:
        """Keep the field that has the focus in view: an error or the lr may have taken rows."""
        self._show_focused()

    def on_mouse_scroll_down(self) -> None:
        """Stay where the user scrolls to."""
        self._is_elsewhere = True

    def on_mouse_scroll_up(self) -> None:
        """Stay where the user scrolls to."""
        self._is_elsewhere = True

    def on_scroll_to(self, event: ScrollTo) -> None:
        """Stay where the user drags the scroll bar to."""
        self._is_elsewhere = True

    def on_descendant_focus(self) -> None:
        """Go back to the field that has the focus."""
        self._is_elsewhere = False

    def on_input_changed(self, event: Input.Changed) -> None:
        """Go back to the field that is typed in."""
        if (row := self.focused_row) is not None and event.input is row.input:
            self._is_elsewhere = False

    def _show_focused(self) -> None:
        self.call_after_refresh(self._scroll_to_focused)

    def _scroll_to_focused(self) -> None:
        if (row := self.focused_row) is not None and not self._is_elsewhere:
            self.scroll_to_widget(row, animate=False)

    async def _mount_new(self, wanted: Sequence[str]) -> None:
        """Mount the new rows, those that follow each other together: each mount lays out all rows."""
        new: list[SettingRow] = []
        for key in wanted:
            row = self.rows[key]
            if row.parent is None:
                row.input.value = self._draft.text(key)
                new.append(row)
            elif new and self.is_attached:
                await self.mount(*new, before=row)
                new = []
        if new and self.is_attached:
            await self.mount(*new)

    def shown_keys(self, added: Iterable[str]) -> list[str]:
        """Return the keys that have a row, in order."""
        return shown_keys(self._draft, self.infos, added)

    def field(self, key: str) -> Field:
        """Return what a row shows."""
        info = self.infos.get(key)
        meaning, is_open = (info.description, info.is_open) if info else ("", True)
        hint = placeholder(key, info)
        original, choices = self._draft.original(key), self.choices(key)
        return Field(key, group_of(key), label_of(key), original, meaning, hint, choices, is_open)

    def _show_groups(self) -> None:
        previous = ""
        for row in self.rows.values():
            row.show_first(row.field.group != previous)
            previous = row.field.group
