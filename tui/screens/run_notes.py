"""The dialog that names, tags and annotates a run."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.notes import Notes, parse_tags
from torchconsole.engine.run.renaming import check_name
from torchconsole.engine.text import printable
from torchconsole.tui.widgets.inputs import SequentialInput


@dataclass(frozen=True)
class RunLabels:
    """What the user typed."""

    name: str
    notes: Notes


class NotesScreen(ModalScreen[RunLabels | None]):
    """Asks for a run's name, tags and note. Returns them, or None if the user cancels.

    What is wrong is shown while it is typed.
    """

    # With priority: letters typed after tab must not overtake it.
    BINDINGS = [
        Binding("escape,ctrl+c", "cancel", "Cancel", show=False),
        Binding("down", "app.focus_next", show=False, priority=True),
        Binding("up", "app.focus_previous", show=False, priority=True),
        Binding("tab", "app.focus_next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", show=False, priority=True),
    ]

    def __init__(self, folder: RunFolder, notes: Notes) -> None:
        super().__init__()
        self._folder = folder
        self._notes = notes

    def compose(self) -> ComposeResult:
        """Lay out the three fields and the remark about them."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter saves · tab next · esc"
            yield Static("Name, tags and note of the run", classes="question")
            for name, label, value, example in (
                ("name", "name", self._folder.name, ""),
                ("tags", "tags, separated by blanks", " ".join(self._notes.tags), "baseline paper"),
                ("note", "note", self._notes.note, "what this run is about"),
            ):
                yield Static(label, classes="label")
                yield SequentialInput(printable(value), id=name, placeholder=example, select_on_focus=False)
            yield Static(markup=False, classes="remark")

    def on_input_changed(self) -> None:
        """Show what is wrong."""
        self._labels()

    def on_input_submitted(self) -> None:
        """Return what was typed, if it is valid."""
        if labels := self._labels():
            self.dismiss(labels)

    def action_cancel(self) -> None:
        """Close the dialog without changing anything."""
        self.dismiss(None)

    action_leave = action_cancel

    def _labels(self) -> RunLabels | None:
        """Return what was typed; None, with the reason in the remark, if it is not valid."""
        remark = self.query_one(".remark", Static)
        name, tags, note = (
            self.query_one(f"#{field}", SequentialInput).value for field in ("name", "tags", "note")
        )
        try:
            is_renamed = name.strip() != printable(self._folder.name)
            if is_renamed:
                check_name(name.strip(), self._folder)
            is_edited = note != printable(self._notes.note)
            notes = Notes(parse_tags(tags), note.strip() if is_edited else self._notes.note)
        except RunError as error:
            remark.update(printable(str(error)))
            remark.set_class(True, "-error")
            return None
        remark.update("")
        return RunLabels(name.strip() if is_renamed else self._folder.name, notes)
