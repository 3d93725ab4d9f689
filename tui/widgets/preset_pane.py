"""The preset pane: the settings of the run, one on a line, searched by `/`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchconsole.engine.text import printable
from torchconsole.tui.rank_texts import describe_batch, describe_lr
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.lines import Line, line_width, wrap
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

_LONGEST_KEY = 40

Setting = tuple[str, str]
"""Dotted key, and its value as text."""


class PresetPane(OrderedPane[Setting]):
    """`optimizer.lr = 0.1`: sections in the order of the preset; a list of tables has a line for each key."""

    VIEWS = (ALL, "chosen")

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="preset")

    def source(self) -> object:
        """Return the settings, which a snapshot replaces."""
        run = self._state.run
        return id(run.config), run.processes, run.batch_size, *self.arrangement

    def orders(self) -> Sequence[str]:
        """Return the orders: as in the preset, or by the name."""
        return ("section", "name")

    def sort_key(self, row: Setting, order: str) -> str:
        """Return the last part of the key."""
        return row[0].rpartition(".")[2]

    def is_in_view(self, row: Setting, view: str) -> bool:
        """Whether a setting differs from its default."""
        from torchconsole.engine.config.preset_keys import default_of

        key, value = row
        default = default_of(key, self._state.run.config)
        return default is None or printable(str(default)) != value

    def all_rows(self) -> Sequence[Setting]:
        """Return the settings in the order of the preset."""
        return list(flat(self._state.run.config))

    def row_lines(self, row: Setting, width: int) -> list[Line]:
        """Return the lines of a setting: values start in one column, and long ones are wrapped."""
        key, value = row
        longest = max((len(name) for name, _ in self._rows or [row]), default=0)
        column = min(longest, _LONGEST_KEY, width // 2)
        section, dot, name = key.rpartition(".")
        first, *rest = wrap(value, width - max(column, len(key)) - 2)
        space = " " * (max(0, column - len(key)) + 2)
        lines: list[Line] = [
            [(f"{section}{dot}", "faint"), (name, "muted"), (space, "text"), (first, "text")]
        ]
        indent = " " * (max(column, len(key)) + 2)
        lines += [[(indent, "text"), (piece, "text")] for piece in rest]
        note = self._note(key)
        if note and line_width(lines[-1]) + len(note) + 3 <= width:
            lines[-1] = [*lines[-1], (f"   {note}", "faint")]
        return lines

    def _note(self, key: str) -> str:
        """Return what a setting amounts to in a training by several processes."""
        run = self._state.run
        if run.processes < 2:
            return ""
        if key == "data.batch_size" and (batch := describe_batch(run)):
            return f"of all processes: {batch}"
        return describe_lr(run) if key == "optimizer.lr" else ""

    def text_of(self, row: Setting) -> str:
        """Return what is searched, and copied: as an argument of `--set`."""
        return f"{row[0]}={row[1]}"

    def title(self) -> Line:
        """Return the title, and the preset's name."""
        name = printable(self._state.run.preset)
        return self.arranged([("settings", "bold strong"), (f" {name}" if name else "", "muted")])

    def remark(self) -> Line:
        """Return the keys."""
        return key_hints(self.app, view="view", pane_search="search")

    def empty(self) -> str:
        """Return what is shown before the settings are known."""
        return "the settings are not known yet"


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[Setting]:
    """Yield the settings of sections and of lists of them: `metrics.0.name`."""
    for key, value in config.items():
        name = f"{prefix}{printable(str(key))}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
            yield from flat({str(index): part for index, part in enumerate(value)}, f"{name}.")
        elif value is not None:
            yield name, printable(_text(value))


def _text(value: Any) -> str:
    """Return a value as it stands in a preset; a text without its quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(json.dumps(part) if isinstance(part, str) else _text(part) for part in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_text(part)}' for key, part in value.items())}}}"
    return str(value)
