"""The form's fields: a row for each setting, and a line that finds any other key of a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from torchconsole.engine.text import printable
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lines import Line, LineWidget

MOST_SUGGESTIONS = 4


class SettingRow(Horizontal):
    """`* batch size   64   was 32`: a setting's name and value, whether it was changed, and what it means.

    `key` is the dotted key; `Input.Changed` reports what the user types.
    """

    DEFAULT_CSS = """
    SettingRow {
        height: 1;
        .flag { width: 2; color: $text-warning; text-style: bold; }
        .name { width: 24; }
        SequentialInput { width: 2fr; height: 1; padding: 0 1; background: $panel; }
        SequentialInput.-error { color: $text-error; }
        .name, .remark { text-wrap: nowrap; text-overflow: ellipsis; }
        .remark { width: 3fr; padding-left: 2; color: $foreground 60%; }
        &:focus-within .name { text-style: bold; color: $text-accent; }
    }
    """

    def __init__(
        self,
        key: str,
        label: str,
        original: str,
        meaning: str,
        suggestions: Sequence[str] = (),
        hint: str = "",
    ) -> None:
        super().__init__()
        self.key = key
        self._label = label
        self._original = original
        self.meaning = meaning
        self._flag = Static(classes="flag")
        self._remark = Static(printable(meaning), classes="remark", markup=False)
        self.input = SequentialInput(
            original,
            placeholder=hint or "not set",
            compact=True,
            select_on_focus=False,
            suggester=SuggestFromList(suggestions) if suggestions else None,
        )

    def compose(self) -> ComposeResult:
        """From left to right."""
        yield self._flag
        yield Static(printable(self._label), classes="name", markup=False)
        yield self.input
        yield self._remark

    def show_status(self, *, is_modified: bool, is_wrong: bool) -> None:
        """Show whether the value differs from the original one and whether it is an error."""
        self._flag.update("!" if is_wrong else "*" if is_modified else "")
        was = f"was {self._original}" if self._original else "was not set"
        self._remark.update(printable(was if is_modified else self.meaning))
        self.input.set_class(is_wrong, "-error")

    def reset(self) -> None:
        """Restore the original value."""
        self.input.value = self._original
        self.input.cursor_position = len(self._original)


class KeySearch(Vertical):
    """An input for any other key, which lists the most similar keys below while the user types."""

    DEFAULT_CSS = """
    KeySearch {
        height: auto;
        SequentialInput { height: 1; padding: 0 1; margin-left: 2; background: $panel; }
        KeySuggestions { height: auto; padding-left: 3; display: none; }
        KeySuggestions.-shown { display: block; }
    }
    """

    @dataclass
    class Chosen(Message):
        """The user wants to set this key."""

        key: str

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__()
        self.known = known

    def compose(self) -> ComposeResult:
        """The input above the suggestions."""
        yield SequentialInput(placeholder="any other key, for example optimizer.weight_decay", compact=True)
        yield KeySuggestions()

    @property
    def input(self) -> SequentialInput:
        """The input line."""
        return self.query_one(SequentialInput)

    def move(self, step: int) -> bool:
        """Move the highlight among the suggestions; False if there is none in that direction."""
        return self.input.has_focus and self.query_one(KeySuggestions).move(step)

    @on(Input.Changed)
    def suggest(self, event: Input.Changed) -> None:
        """List the keys that are most similar to the text."""
        from torchconsole.engine.config.preset_keys import nearest_keys

        event.stop()
        typed = event.value.strip()
        nearest = nearest_keys(typed, self.known, MOST_SUGGESTIONS)
        suggestions = [(key, self.known[key]) for key in nearest]
        highlight = bool(nearest) and typed in nearest[0]
        self.query_one(KeySuggestions).show(suggestions, highlight=highlight)

    @on(Input.Submitted)
    def choose(self, event: Input.Submitted) -> None:
        """Choose the highlighted key, or the text itself if no key is highlighted."""
        event.stop()
        key = self.query_one(KeySuggestions).highlighted or event.value.strip()
        self.input.clear()
        if key:
            self.post_message(self.Chosen(key))


class KeySuggestions(LineWidget):
    """`> optimizer.momentum   argument of SGD`."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[tuple[str, str]] = []
        self._index = -1

    @property
    def highlighted(self) -> str:
        """The highlighted key; empty if there is none."""
        return self._keys[self._index][0] if self._keys and self._index >= 0 else ""

    def show(self, keys: list[tuple[str, str]], *, highlight: bool) -> None:
        """List these keys with their meanings, with the first one highlighted or none."""
        self._keys, self._index = keys, 0 if highlight else -1
        self.set_class(bool(keys), "-shown")
        self.refresh(layout=True)
        self.redraw()

    def move(self, step: int) -> bool:
        """Move the highlight; False at the ends."""
        if not 0 <= self._index + step < len(self._keys):
            return False
        self._index += step
        self.redraw()
        return True

    def draw(self, width: int, height: int) -> list[Line]:
        """One line per key."""
        column = max((len(key) for key, _ in self._keys), default=0)
        return [
            [
                ("> " if number == self._index else "  ", "key"),
                (f"{printable(key):<{column}}", "strong" if number == self._index else "plain"),
                (shorten(f"  {printable(meaning)}", width - column - 2), "muted"),
            ]
            for number, (key, meaning) in enumerate(self._keys)
        ]
