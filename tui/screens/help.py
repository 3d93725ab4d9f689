"""The help: the keys of a screen and what they do, from the table of keys."""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import Binding
from textual.screen import ModalScreen

from torchconsole.tui.keys import Section, actions_of
from torchconsole.tui.user_keys import keys_of, shown
from torchconsole.tui.widgets.lines import Line, wrap
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

_GAP = 2


class HelpScreen(ModalScreen[bool]):
    """Shows the keys above the screen. It scrolls like any list. Returns whether to open the palette."""

    BINDINGS = [
        Binding("escape,q,question_mark,f1,enter,ctrl+c", "dismiss(False)", "Close", show=False),
        Binding("slash,ctrl+p", "dismiss(True)", "Search the actions and do one", show=False),
    ]

    def __init__(self, sections: Sequence[Section]) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> list[ScrolledLines]:
        """Lay out the lines."""
        return [HelpLines(self._sections)]

    def action_leave(self) -> None:
        """Close the help."""
        self.dismiss(False)


class HelpLines(ScrolledLines):
    """`j down   Go down by a line`, below the title of each section."""

    BORDER_TITLE = "keys"
    BORDER_SUBTITLE = "esc closes · / finds an action · arrows scroll"

    def __init__(self, sections: Sequence[Section]) -> None:
        super().__init__(id="help")
        self._sections = sections

    def on_mount(self) -> None:
        """Take the focus, so that the arrow keys scroll at once."""
        self.focus()

    def source(self) -> object:
        """Return the sections, which never change."""
        return self._sections

    def body(self, width: int) -> list[Line]:
        """Return the lines; what a key does is wrapped beside it."""
        actions = actions_of(*self._sections)
        keys = {action: " ".join(map(shown, keys_of(self.app, action))) for action in actions}
        column = min(max(map(len, keys.values())) + _GAP, max(1, width // 3))
        lines: list[Line] = []
        for section in self._sections:
            lines += [[], [(section.title, "bold muted")]]
            for action in section.actions:
                name = keys[action]
                first, *rest = wrap(action.help, width - column)
                if len(name) + 1 > column:
                    lines.append([(name, "bold strong")])
                    name = ""
                lines.append([(f"{name:<{column}}", "bold strong"), (first, "text")])
                lines += [[(" " * column, "text"), (piece, "text")] for piece in rest]
        return lines[1:]
