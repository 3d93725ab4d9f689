"""The form's line for any other key: offers the nearest ones while one is typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from torchconsole.engine.text import printable
from torchconsole.tui.widgets.lines import Line, LineWidget, elide
from torchconsole.tui.widgets.sequential_input import SequentialInput

OFFERED = 4


class KeySearch(Vertical):
    """The keys that are offered stand below the line while something is typed; one of them is marked."""

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
        """The line, and what it offers."""
        yield SequentialInput(placeholder="any other key, for example optimizer.weight_decay", compact=True)
        yield KeySuggestions()

    @property
    def input(self) -> SequentialInput:
        """The line itself."""
        return self.query_one(SequentialInput)

    def move(self, step: int) -> bool:
        """Mark the next of the offered keys, or the one before; False where there is none."""
        return self.input.has_focus and self.query_one(KeySuggestions).move(step)

    @on(Input.Changed)
    def offer(self, event: Input.Changed) -> None:
        """Offer what comes nearest."""
        from torchconsole.engine.config.preset_keys import nearest_keys

        event.stop()
        typed = event.value.strip()
        near = nearest_keys(typed, self.known, OFFERED)
        offered = [(key, self.known[key]) for key in near]
        self.query_one(KeySuggestions).show(offered, marked=bool(near) and typed in near[0])

    @on(Input.Submitted)
    def choose(self, event: Input.Submitted) -> None:
        """Take the marked key, or what was typed where nothing like it is known."""
        event.stop()
        key = self.query_one(KeySuggestions).marked or event.value.strip()
        self.input.clear()
        if key:
            self.post_message(self.Chosen(key))


class KeySuggestions(LineWidget):
    """`> optimizer.momentum   an argument of SGD`."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[tuple[str, str]] = []
        self._at = -1

    @property
    def marked(self) -> str:
        """The marked key; empty where none is."""
        return self._keys[self._at][0] if self._keys and self._at >= 0 else ""

    def show(self, keys: list[tuple[str, str]], *, marked: bool) -> None:
        """Offer these keys with their meanings, the first one marked or none."""
        self._keys, self._at = keys, 0 if marked else -1
        self.set_class(bool(keys), "-shown")
        self.refresh(layout=True)
        self.redraw()

    def move(self, step: int) -> bool:
        """Move the mark; False at the ends."""
        if not 0 <= self._at + step < len(self._keys):
            return False
        self._at += step
        self.redraw()
        return True

    def draw(self, width: int, height: int) -> list[Line]:
        """A line for each key."""
        column = max((len(key) for key, _ in self._keys), default=0)
        return [
            [
                ("> " if number == self._at else "  ", "key"),
                (f"{printable(key):<{column}}", "strong" if number == self._at else "plain"),
                (elide(f"  {printable(meaning)}", width - column - 2), "muted"),
            ]
            for number, (key, meaning) in enumerate(self._keys)
        ]
