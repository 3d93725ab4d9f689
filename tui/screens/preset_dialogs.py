"""Dialogs about a preset: save it under a new name, and trust the user code that it would run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.config.draft import Draft, as_typed, name_conflict, save_copy, save_extension
from torchconsole.engine.config.script_presets import NOT_COVERED
from torchconsole.engine.config.user_code import describe_files
from torchconsole.engine.config.user_imports import UserFile, source_text
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
    """Asks for a name and a title, and saves the preset. Returns the new file, or None if the user cancels.

    The name is checked while it is typed. Settings of a run (`of_run`) are only saved in full: its folder may
    be deleted.
    """

    BINDINGS = [
        Binding("escape,ctrl+c", "cancel", "Cancel", show=False),
        Binding("ctrl+e", "save_extension", "Save the changes only", show=False, priority=True),
        Binding("tab,down", "app.focus_next", "Next line", show=False, priority=True),
        Binding("shift+tab,up", "app.focus_previous", "Previous line", show=False, priority=True),
    ]

    def __init__(self, draft: Draft, name: str, *, of_run: bool = False) -> None:
        super().__init__()
        self._draft = draft
        self._original = name
        self._of_run = of_run
        self._name_line = SequentialInput(placeholder=f"name, for example {printable(name)}-2", id="name")
        self._title_line = SequentialInput(draft.text("title"), placeholder="title in the menu", id="title")

    def compose(self) -> ComposeResult:
        """Lay out the name, the title, the remark about the name, and the two ways to save."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "tab next line · esc cancels"
            yield Static("Save as a preset of your own", classes="question")
            yield Static("name", classes="label")
            yield self._name_line
            yield Static("title", classes="label")
            yield self._title_line
            yield Static(markup=False, classes="remark")
            if self._of_run:
                yield Static("enter   saves these settings as a preset", markup=False)
                return
            yield Static(
                "enter   saves a full copy with the original's comments\n"
                f'ctrl+e  saves only your changes: extends = "{printable(self._original)}"',
                markup=False,
            )

    def on_mount(self) -> None:
        """Begin with the name."""
        self.set_focus(self._name_line)

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Show what is wrong with the name, or which preset it would replace or hide."""
        if event.input is not self._name_line:
            return
        try:
            self._show_remark(name_conflict(event.value) if event.value else "", is_error=False)
        except PresetError as error:
            self._show_remark(str(error), is_error=True)

    def on_input_submitted(self) -> None:
        """Save a full copy."""
        self._save(save_copy)

    def action_save_extension(self) -> None:
        """Save only the changes."""
        if not self._of_run:
            self._save(save_extension)

    def action_cancel(self) -> None:
        """Close the dialog without saving."""
        self.dismiss(None)

    action_leave = action_cancel

    def _save(self, save: Save) -> None:
        """Save under the typed name. Ask first if that replaces or hides another preset."""
        name = self._name_line.value

        def on_answer(choice: str | None) -> None:
            if choice == "replace":
                self._write(save, name)

        try:
            conflict = name_conflict(name)
        except PresetError as error:
            self._show_remark(str(error), is_error=True)
            return
        if not self._title_line.value.strip():
            self._show_remark("type a title: the menu shows it", is_error=True)
            self.set_focus(self._title_line)
        elif conflict:
            confirm = Choice(("y",), "replace", "save it anyway")
            self.app.push_screen(ChoiceScreen(f"Save as {name}?", f"{conflict}.", [confirm]), on_answer)
        else:
            self._write(save, name)

    def _write(self, save: Save, name: str) -> None:
        title = Draft(self._draft.path)
        title.set("title", as_typed(self._title_line.value.strip()))
        try:
            self.dismiss(save(self._draft.path, {**self._draft.applied, **title.changes}, name))
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

    def __init__(self, files: Sequence[UserFile], *, is_program: bool = False) -> None:
        super().__init__()
        self._files = files
        self._limits = f"\n{NOT_COVERED}" if is_program else ""

    def compose(self) -> ComposeResult:
        """Lay out the question, the paths of the files and their content."""
        these = "this file" if len(self._files) == 1 else f"these {len(self._files)} files"
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "y trust and continue · n or esc cancel · arrows scroll"
            yield Static(f"This preset runs the code below. Do you trust {these}?", classes="question")
            described = printable(describe_files(self._files, MOST_FILES)) + self._limits
            yield Static(described, markup=False, classes="remark")
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
                lines += [[(piece, "bold strong")] for piece in wrap(printable(str(path)), width)]
            for number, text in enumerate(source, start=1):
                first, *rest = wrap(printable(text), width - column)
                lines.append([(f"{number:>{column - 2}}  ", "muted"), (first, "text")])
                lines += [[(" " * column, "text"), (piece, "text")] for piece in rest]
        return lines


def _source(file: UserFile) -> list[str]:
    """Return the lines of a file; of compiled code only what it is."""
    if file.path.suffix != ".py":
        return [f"compiled code, {len(file.content):,} bytes"]
    try:
        text = source_text(file.content)  # which is what runs
    except SyntaxError:
        text = file.content.decode("utf-8", errors="backslashreplace")
    text = text.expandtabs(4)
    return text.removesuffix("\n").split("\n")


async def ask_for_trust(app: App[Any], files: Sequence[UserFile], *, is_program: bool = False) -> bool:
    """Ask for trust in files of user code, if there are any, and remember it; return the answer.

    Of a program (`is_program`), only the file itself is asked about.
    """
    from torchconsole.tui import launch

    if not files:
        return True
    is_trusted = await app.push_screen_wait(TrustScreen(files, is_program=is_program))
    if is_trusted:
        launch.trust(files)
    return is_trusted
