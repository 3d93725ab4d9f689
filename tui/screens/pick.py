"""The dialog in which a key of a preset, or a value of a key, is found and chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.text import printable
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.list_pane import ListPane
from torchconsole.tui.widgets.pick_list import Pick, PickInput, PickList

Check = Callable[[str], str]
"""Returns why a text that is not in the list cannot be chosen; empty if it can."""


class PickScreen(ModalScreen[str | None]):
    """Returns the chosen value, or the typed text if `check` accepts it; None if the user cancels."""

    BINDINGS = [
        Binding("escape,ctrl+c", "leave", "Cancel", show=False),
        Binding("enter", "accept", "Choose", show=False),
    ]

    def __init__(
        self, title: str, picks: Sequence[Pick], hint: str, present: str = "", check: Check | None = None
    ) -> None:
        super().__init__()
        self._present = present
        self._check = check
        self._hint = hint
        self._refused: str | None = None
        """The text of which the remark says why it cannot be chosen."""
        self.line = PickInput(placeholder=hint, compact=True)
        self.list = PickList(picks, title)
        self._remark = Static(markup=False, classes="remark")

    def compose(self) -> ComposeResult:
        """Lay out the line, the list, and the meaning of its highlighted entry."""
        with Vertical(classes="picker"):
            yield self.line
            yield self.list
            yield self._remark

    def on_mount(self) -> None:
        """Highlight the present value."""
        self.list.boxed = False
        self.set_focus(self.line)
        self.list.go_to(self._present)

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Search while typing; what follows `=` is the value to set."""
        self.list.search(event.value.partition("=")[0] if self._check else event.value)

    async def on_input_submitted(self) -> None:
        """Choose."""
        self.action_accept()

    def on_pick_input_moved(self, event: PickInput.Moved) -> None:
        """Move in the list."""
        self._refused = None
        self.list.step(event.rows)

    @on(ListPane.Highlighted)
    def explain(self) -> None:
        """Show the highlighted entry in full, or what enter does with a text that is not in the list."""
        if self.line.value == self._refused:
            return  # the highlight has moved because of what was typed before enter
        picked = self.list.picked
        if picked is None:
            self._show(f"enter takes {self.line.value!r} as it is" if self._check else "", is_error=False)
            return
        parts = [picked.value, picked.kind, picked.meaning]
        self._show(" · ".join(part for part in parts if part), is_error=False)

    @on(ListPane.Chosen)
    def choose(self) -> None:
        """Choose by a double click."""
        self.action_accept()

    def action_accept(self) -> None:
        """Choose the typed text if it is complete, else the highlighted entry."""
        typed, equals, value = (part.strip() for part in self.line.value.partition("="))
        picked = self.list.picked
        names = {pick.casefold(): pick for pick in self.list.values}
        if typed.casefold() in names:
            self.dismiss(f"{names[typed.casefold()]}{equals}{value}")
        elif picked is not None and not (equals and self._check):
            self.dismiss(picked.value)
        elif typed and self._check is not None:
            if problem := self._check(typed):
                self._show(problem, is_error=True)
            else:
                self.dismiss(f"{typed}{equals}{value}")

    def action_leave(self) -> None:
        """Close the dialog without a choice."""
        self.dismiss(None)

    def _show(self, text: str, *, is_error: bool) -> None:
        self._refused = self.line.value if is_error else None
        self._remark.update(printable(text))
        self._remark.set_class(is_error, "-error")
