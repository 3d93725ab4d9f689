"""How commands print: plain tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from torchconsole.engine.text import printable
from torchconsole.tui.table import align


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows below headings; the columns in `right` are flush right."""
    for line in align([headings, *([printable(cell) for cell in row] for row in rows)], right):
        print("  ".join(line).rstrip())
