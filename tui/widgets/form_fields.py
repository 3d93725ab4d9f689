"""The form's fields: a row for each setting, whose value is typed or chosen."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Click, Key
from textual.message import Message
from textual.suggester import Suggester, SuggestFromList

from torchconsole.engine.text import printable
from torchconsole.tui.form_data import PathSuggester
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lines import Line, LineWidget

NARROW = 60
"""Screens with fewer columns have no room for groups and remarks."""

_GROUP_CELLS = 11
_PATHS = ("data.root", "model.weights", "data.tokenizer", "script.folder")


@dataclass(frozen=True)
class Field:
    """What a row shows: its key, its group, its name in it, and what its value can be.

    `original` is the value before any change. If not `is_open`, the value is one of the `choices`.
    """

    key: str
    group: str
    label: str
    original: str
    meaning: str
    placeholder: str
    choices: tuple[str, ...] = ()
    is_open: bool = True


class FieldInput(SequentialInput):
    """The value. One of a fixed set is not typed: arrow keys, space and first letters go through the set."""

    @dataclass
    class ChoicesRequested(Message):
        """The user wants to see what the value can be."""

        input: FieldInput

    def __init__(self, field: Field) -> None:
        super().__init__(
            field.original,
            placeholder=printable(field.placeholder),
            compact=True,
            select_on_focus=False,
            suggester=_suggester(field),
        )
        self.field = field

    async def on_key(self, event: Key) -> None:
        """Change a value that is one of a set, or edit."""
        if self.field.is_open or not self.field.choices:
            await super().on_key(event)
            return
        steps = {"right": 1, "space": 1, "left": -1}
        if event.key in steps:
            self._step(steps[event.key])
        elif event.key in ("backspace", "delete", "ctrl+u"):
            self.value = ""
        elif event.is_printable and event.character:
            self._go_to(event.character)
        else:
            await super().on_key(event)
            return
        event.stop()
        event.prevent_default()

    async def on_click(self, event: Click) -> None:
        """Show the choices on a second click."""
        if self.field.choices and event.chain == 2:
            self.post_message(self.ChoicesRequested(self))

    def _step(self, step: int) -> None:
        choices = self.field.choices
        place = choices.index(self.value) if self.value in choices else -1 if step > 0 else 0
        self.value = choices[(place + step) % len(choices)]

    def _go_to(self, letter: str) -> None:
        """Take the next choice that begins with a letter."""
        choices = self.field.choices
        after = choices.index(self.value) + 1 if self.value in choices else 0
        in_order = [*choices[after:], *choices[:after]]
        found = next((one for one in in_order if one.casefold().startswith(letter.casefold())), None)
        if found is not None:
            self.value = found


class SettingRow(Horizontal):
    """`* optimizer  lr   0.05   was 0.1`: a setting's name and value, and what is to be said about it.

    `Input.Changed` reports what the user types.
    """

    DEFAULT_CSS = """
    SettingRow {
        height: 1;
        RowName { width: 30; }
        FieldInput { width: 2fr; min-width: 16; height: 1; padding: 0 1; }
        FieldInput { background: $tone-surface; color: $tone-strong; }
        FieldInput:focus { background: $tone-select; }
        FieldInput.-error { color: $tone-bad; }
        RowRemark { width: 3fr; }
        &.-narrow RowName { width: 20; }
        &.-narrow RowRemark { width: 3; }
    }
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field
        self.key = field.key
        self.problem = ""
        self._head = RowName(field)
        self._remark = RowRemark(field)
        self.input = FieldInput(field)

    def compose(self) -> ComposeResult:
        """From left to right."""
        yield self._head
        yield self.input
        yield self._remark

    def on_mount(self) -> None:
        """Fit the row into the screen."""
        self.set_class(self.app.size.width < NARROW, "-narrow")

    def on_resize(self) -> None:
        """Fit the row into the screen."""
        self.set_class(self.app.size.width < NARROW, "-narrow")

    def on_click(self) -> None:
        """A click anywhere in the row goes to its value."""
        self.screen.set_focus(self.input)

    def on_descendant_focus(self) -> None:
        """Show the row's name brighter."""
        self._head.show(has_focus=True)

    def on_descendant_blur(self) -> None:
        """Show the row's name as the others."""
        self._head.show(has_focus=False)

    def show_first(self, is_first: bool) -> None:
        """Show the name of the group if the row is the first of it."""
        self._head.show(is_first=is_first)

    def show_field(self, field: Field) -> None:
        """Show another meaning and other choices, after a component was replaced by another."""
        if field != self.field:
            self.field = self.input.field = field
            self.input.placeholder = printable(field.placeholder)
            self.input.suggester = _suggester(field)
            self._head.show(field=field)
            self._remark.show_field(field)

    def show_status(self, *, is_modified: bool, problem: str, is_wrong: bool) -> None:
        """Show whether the value was changed, and beside it what is wrong; if not `is_wrong`, a warning."""
        self.problem = problem
        self._head.show(flag="!" if problem else "*" if is_modified else " ")
        self._remark.show(problem, is_modified=is_modified, is_wrong=is_wrong)
        self.input.set_class(is_wrong, "-error")

    def set_value(self, text: str) -> None:
        """Put a text into the field, as if it were typed."""
        self.input.value = text
        self.input.cursor_position = len(text)

    def text_to_copy(self) -> str:
        """Return key and value, as an argument of `--set`."""
        return f"{self.key}={self.input.value}"

    def reset(self) -> None:
        """Restore the original value."""
        self.set_value(self.field.original)


class RowName(LineWidget):
    """`* optimizer  lr`: whether it was changed or is wrong, the group, and the name."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field
        self._flag = " "
        self._is_first = self._has_focus = False

    def show(
        self,
        *,
        field: Field | None = None,
        flag: str | None = None,
        is_first: bool | None = None,
        has_focus: bool | None = None,
    ) -> None:
        """Change what is given."""
        self._field = field or self._field
        self._flag = self._flag if flag is None else flag
        self._is_first = self._is_first if is_first is None else is_first
        self._has_focus = self._has_focus if has_focus is None else has_focus
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the line; where it is narrow, without the group, of which the key tells."""
        field = self._field
        label_tone = "bold train" if self._has_focus else "text"
        line: Line = [(f"{self._flag} ", "bold bad" if self._flag == "!" else "bold attn")]
        if width < 24:
            name = f"{field.group}.{field.label}" if field.key.startswith(f"{field.group}.") else field.key
            return [[*line, (shorten(printable(name), width - 3, "middle"), label_tone)]]
        group = field.group if self._is_first else ""
        line.append((f"{shorten(group, _GROUP_CELLS - 1):<{_GROUP_CELLS}}", "bold muted"))
        return [[*line, (shorten(printable(field.label), width - _GROUP_CELLS - 3, "middle"), label_tone)]]


class RowRemark(LineWidget):
    """What is beside a value: the mistake in it, the value that it had, or what it means."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field
        self._problem, self._is_modified, self._is_wrong = "", False, False

    def show_field(self, field: Field) -> None:
        """Show what a field means now."""
        self._field = field
        self.redraw()

    def show(self, problem: str, *, is_modified: bool, is_wrong: bool) -> None:
        """Show the mistake, or else whether the value was changed."""
        self._problem, self._is_modified, self._is_wrong = problem, is_modified, is_wrong
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the line, with a sign that the value can be chosen."""
        sign = "▼ " if self._field.choices else "  "
        line: Line = [(sign, "muted")]
        if self._problem:
            text, tone = self._problem, "bad" if self._is_wrong else "attn"
        elif self._is_modified:
            text = f"was {self._field.original}" if self._field.original else "was not set"
            tone = "muted"
        else:
            text, tone = self._field.meaning, "faint"
        return [[*line, (shorten(printable(text), max(0, width - 3)), tone)]]

    def on_click(self, event: Click) -> None:
        """Show the choices on a click on their sign."""
        if self._field.choices and event.x < 2 and isinstance(self.parent, SettingRow):
            self.post_message(FieldInput.ChoicesRequested(self.parent.input))


def _suggester(field: Field) -> Suggester | None:
    if field.key in _PATHS:
        return PathSuggester()
    if field.choices and field.is_open:
        return SuggestFromList(field.choices, case_sensitive=False)
    return None
