"""Asks for the name of an own preset, and saves it: a copy, or only what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.config.draft import Draft
from torchconsole.engine.config.saving import in_the_way, save_copy, save_extension
from torchconsole.engine.errors import PresetError
from torchconsole.engine.text import printable
from torchconsole.tui.screens.choice import Choice, ChoiceScreen
from torchconsole.tui.widgets.sequential_input import SequentialInput

Save = Callable[[Path, Mapping[str, str], str], Path]


class SaveScreen(ModalScreen[Path | None]):
    """Ends with the file that was written, or None; a name that cannot be is refused as it is typed."""

    BINDINGS = [
        Binding("escape,ctrl+c", "cancel", "Cancel", show=False),
        Binding("ctrl+e", "save_extension", "Save what differs", show=False, priority=True),
    ]

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft

    def compose(self) -> ComposeResult:
        """The name, what is wrong with it, and the two ways to save."""
        original = printable(self._draft.path.stem)
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "esc cancels"
            yield Static("Save as a preset of your own", classes="question")
            yield SequentialInput(placeholder=f"its name, for example {original}-2")
            yield Static(markup=False, classes="remark")
            yield Static(
                "enter   saves all of it, with the comments of the original\n"
                f'ctrl+e  saves only what differs: extends = "{original}"',
                markup=False,
            )

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Say what is wrong with the name, or what is there already."""
        try:
            self._tell(in_the_way(event.value) if event.value else "", is_mistake=False)
        except PresetError as error:
            self._tell(str(error), is_mistake=True)

    def on_input_submitted(self) -> None:
        """Save a copy."""
        self._save(save_copy)

    def action_save_extension(self) -> None:
        """Save what differs."""
        self._save(save_extension)

    def action_cancel(self) -> None:
        """Save nothing."""
        self.dismiss(None)

    action_leave = action_cancel

    def _save(self, save: Save) -> None:
        """Save under the name, after asking where that replaces or hides a preset."""
        name = self.query_one(SequentialInput).value

        def answered(choice: str | None) -> None:
            if choice == "replace":
                self._write(save, name)

        try:
            taken = in_the_way(name)
        except PresetError as error:
            self._tell(str(error), is_mistake=True)
            return
        if taken:
            yes = Choice(("y",), "replace", "save it all the same")
            self.app.push_screen(ChoiceScreen(f"Save as {name}?", f"{taken}.", [yes]), answered)
        else:
            self._write(save, name)

    def _write(self, save: Save, name: str) -> None:
        try:
            self.dismiss(save(self._draft.path, self._draft.changes, name))
        except PresetError as error:
            self._tell(str(error), is_mistake=True)

    def _tell(self, text: str, *, is_mistake: bool) -> None:
        remark = self.query_one(".remark", Static)
        remark.update(printable(text))
        remark.set_class(is_mistake, "-mistake")
