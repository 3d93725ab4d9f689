"""Dialogs about a preset: save it under a new name, and trust the user code that it would run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import decode_source
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.config.draft import Draft, name_conflict, save_copy, save_extension
from torchconsole.engine.config.user_code import describe_files
from torchconsole.engine.config.user_imports import UserFile
from torchconsole.engine.errors import PresetError
from torchconsole.engine.text import printable
from torchconsole.tui.screens.dialogs import Choice, ChoiceScreen
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

MOST_FILES = 3
"""Imported files that the question itself names; the names of all are above their contents."""

Save = Callable[[Path, Mapping[str, str], str], Path]
"""Saves a preset's changes under a name and returns the new file. Raises PresetError."""


class SaveScreen(ModalScreen[Path | None]):
    """Asks for a name and saves the preset. Returns the new file, or None if the user cancels.

    The name is checked while it is typed.
    """

    BINDINGS = [
        Binding("escape,ctrl+c", "cancel", "Cancel", show=False),
        Binding("ctrl+e", "save_extension", "Save the changes only", show=False, priority=True),
    ]

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._draft = draft

    def compose(self) -> ComposeResult:
        """Lay out the name, the remark about it, and the two ways to save."""
        original = printable(self._draft.path.stem)
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "esc cancels"
            yield Static("Save as a preset of your own", classes="question")
            yield SequentialInput(placeholder=f"name, for example {original}-2")
            yield Static(markup=False, classes="remark")
            yield Static(
                "enter   saves a full copy with the original's comments\n"
                f'ctrl+e  saves only your changes: extends = "{original}"',
                markup=False,
            )

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Show what is wrong with the name, or which preset it would replace or hide."""
        try:
            self._show_remark(name_conflict(event.value) if event.value else "", is_error=False)
        except PresetError as error:
            self._show_remark(str(error), is_error=True)

    def on_input_submitted(self) -> None:
        """Save a full copy."""
        self._save(save_copy)

    def action_save_extension(self) -> None:
        """Save only the changes."""
        self._save(save_extension)

    def action_cancel(self) -> None:
        """Close the dialog without saving."""
        self.dismiss(None)

    action_leave = action_cancel

    def _save(self, save: Save) -> None:
        """Save under the typed name. Ask first if that replaces or hides another preset."""
        name = self.query_one(SequentialInput).value

        def on_answer(choice: str | None) -> None:
            if choice == "replace":
                self._write(save, name)

        try:
            conflict = name_conflict(name)
        except PresetError as error:
            self._show_remark(str(error), is_error=True)
            return
        if conflict:
            confirm = Choice(("y",), "replace", "save it anyway")
            self.app.push_screen(ChoiceScreen(f"Save as {name}?", f"{conflict}.", [confirm]), on_answer)
        else:
            self._write(save, name)

    def _write(self, save: Save, name: str) -> None:
        try:
            self.dismiss(save(self._draft.path, self._draft.changes, name))
        except PresetError as error:
            self._show_remark(str(error), is_error=True)

    def _show_remark(self, text: str, *, is_error: bool) -> None:
        remark = self.query_one(".remark", Static)
        remark.update(printable(text))
        remark.set_class(is_error, "-error")


class TrustScreen(ModalScreen[bool]):
    """Shows the Python files that a preset would run, and asks for trust. Returns the answer."""

    BINDINGS = [
        Binding("y", "answer(True)", "Trust it", show=False),
        Binding("n,escape,ctrl+c", "answer(False)", "Cancel", show=False),
    ]

    def __init__(self, files: Sequence[UserFile]) -> None:
        super().__init__()
        self._files = files

    def compose(self) -> ComposeResult:
        """Lay out the question, the paths of the files and their content."""
        these = "this file" if len(self._files) == 1 else f"these {len(self._files)} files"
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "y trust and continue · n or esc cancel · arrows scroll"
            yield Static(f"This preset runs the code below. Do you trust {these}?", classes="question")
            yield Static(printable(describe_files(self._files, MOST_FILES)), markup=False, classes="remark")
            yield SourceLines(self._files)

    def action_answer(self, trusts: bool) -> None:
        """Close the dialog with the answer."""
        self.dismiss(trusts)

    def action_leave(self) -> None:
        """Answer no."""
        self.dismiss(False)


class SourceLines(ScrolledLines):
    """The lines of files with their numbers; of several files, each begins with its path.

    Nothing is hidden: long lines are wrapped, control codes escaped.
    """

    def __init__(self, files: Sequence[UserFile]) -> None:
        super().__init__(id="source")
        self._files = [(file.path, _source(file)) for file in files]

    def on_mount(self) -> None:
        """Take the focus, so that the arrow keys scroll at once."""
        self.focus()

    def source(self) -> object:
        """Return the files' lines, which never change."""
        return self._files

    def body(self, width: int) -> list[Line]:
        """Return the wrapped lines. A line's number stands before its first piece."""
        column = max(len(str(len(source))) for _, source in self._files) + 2
        lines: list[Line] = []
        for path, source in self._files:
            if len(self._files) > 1:
                lines += [[(piece, "strong")] for piece in wrap(printable(str(path)), width)]
            for number, text in enumerate(source, start=1):
                first, *rest = wrap(printable(text), width - column)
                lines.append([(f"{number:>{column - 2}}  ", "muted"), (first, "plain")])
                lines += [[(" " * column, "plain"), (piece, "plain")] for piece in rest]
        return lines


def _source(file: UserFile) -> list[str]:
    """Return the lines of a file; of compiled code only what it is."""
    if file.path.suffix != ".py":
        return [f"compiled code, {len(file.content):,} bytes"]
    try:
        text = decode_source(file.content)  # as Python reads it: its encoding, and a lone \r ends a line
    except (SyntaxError, ValueError, LookupError):
        text = file.content.decode("utf-8", errors="backslashreplace")
    text = text.expandtabs(4)
    return text.removesuffix("\n").split("\n")
