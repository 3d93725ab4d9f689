"""One setting of the form: whether it was changed, its name, its value, and what it means."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.suggester import SuggestFromList
from textual.widgets import Static

from torchconsole.engine.text import printable
from torchconsole.tui.widgets.sequential_input import SequentialInput


class SettingRow(Horizontal):
    """`* batch size   64   was 32`. `key` is the dotted key; `Input.Changed` says what was typed."""

    DEFAULT_CSS = """
    SettingRow {
        height: 1;
        .mark { width: 2; color: $text-warning; text-style: bold; }
        .name { width: 24; }
        SequentialInput { width: 2fr; height: 1; padding: 0 1; background: $panel; }
        SequentialInput.-mistake { color: $text-error; }
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
        self._mark = Static(classes="mark")
        self._remark = Static(printable(meaning), classes="remark", markup=False)
        self.input = SequentialInput(
            original,
            placeholder=hint or "not set",
            compact=True,
            select_on_focus=False,
            suggester=SuggestFromList(suggestions) if suggestions else None,
        )

    def compose(self) -> ComposeResult:
        """The mark, the name, the value, the remark."""
        yield self._mark
        yield Static(printable(self._label), classes="name", markup=False)
        yield self.input
        yield self._remark

    def tell(self, is_modified: bool, is_mistake: bool) -> None:
        """Show how the value stands."""
        self._mark.update("!" if is_mistake else "*" if is_modified else "")
        was = f"was {self._original}" if self._original else "was not set"
        self._remark.update(printable(was if is_modified else self.meaning))
        self.input.set_class(is_mistake, "-mistake")

    def reset(self) -> None:
        """Put the original value back."""
        self.input.value = self._original
        self.input.cursor_position = len(self._original)
