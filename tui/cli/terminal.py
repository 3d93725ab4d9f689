"""The terminal of a command: whether there is one, questions to its user, and tables that fit into it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torchconsole.engine.text import printable
from torchconsole.tui.table import Column, fit


def has_terminal() -> bool:
    """Return whether the console can be shown: it reads keys from stdin, and Textual draws on stderr."""
    return _has_streams() and not _is_dumb()


def explain_dumb_terminal() -> bool:
    """If there is a terminal but it cannot show the console, print why; return whether that is so."""
    if not (_has_streams() and _is_dumb()):
        return False
    print("torchconsole: no console in this terminal: TERM=dumb has no cursor control", file=sys.stderr)
    return True


def _has_streams() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def output_width() -> int | None:
    """Return the width of the terminal that stdout writes to (cells); None for a pipe or a file.

    $COLUMNS takes precedence, as in shutil.get_terminal_size.
    """
    if not sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def announce(text: str) -> None:
    """Say what takes long, if stderr is a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def confirm(question: str) -> bool:
    """Ask a yes-or-no question in the terminal; only y and yes mean yes."""
    return input(f"{printable(question)} [y/N] ").strip().lower() in ("y", "yes")


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their headings. In a terminal the table fits its width; in a pipe it is complete.

    Control characters are escaped first, since an escape takes more cells than its character.
    """
    headed = [replace(column, heading=printable(column.heading)) for column in columns]
    cells = [[printable(cell) for cell in row] for row in rows]
    for line in fit(headed, cells, output_width()):
        print(line)


def print_facts(facts: Iterable[tuple[str, str]], indent: int) -> None:
    """Print labels, and from column `indent` on their texts, wrapped between words in a terminal."""
    for label, text in facts:
        for number, line in enumerate(_wrap(printable(text), indent)):
            print(f"{'' if number else label:<{indent}}{line}".rstrip())


def print_wrapped(text: str) -> None:
    """Print a text, wrapped between words in a terminal."""
    print_facts([("", text)], indent=0)


def _wrap(text: str, indent: int) -> list[str]:
    from torchconsole.tui.widgets.lines import wrap

    width = output_width()
    return [text] if width is None else wrap(text, width - indent)
