"""Draws runs as the menu's list does, in several widths."""

from __future__ import annotations

from collections.abc import Sequence

from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.text import printable
from torchconsole.tui.run_rows import RunFacts, RunTable
from torchconsole.tui.widgets.lines import line_width
from torchconsole.tui.widgets.run_preview import line_preview, run_facts

NOW = 1e9


def draw_runs(records: Sequence[RunRecord], width: int = 80) -> list[str]:
    """Return the rows of the list as text. Checks that all rows fit, in this and in other widths."""
    table = RunTable(records, NOW)
    for each in (20, 36, 78, 200):
        for record in records:
            assert line_width(table.row(RunFacts(record, NOW, [1.0, float("nan")]), each, 7)) <= each
            line_preview(record, each)
            run_facts(record, None, each, NOW)
        table.heading(each, "age")
    rows = [table.row(RunFacts(record, NOW), width, None) for record in records]
    assert all(text == printable(text) for row in rows for text, _ in row)
    return ["".join(text for text, _ in row) for row in rows]
