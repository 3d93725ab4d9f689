"""Whether there is a terminal, and questions to the user there."""

from __future__ import annotations

import os
import sys

from torchconsole.engine.text import printable


def has_terminal() -> bool:
    """Whether the console can be shown: keys come from stdin, and Textual draws on stderr."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return os.environ.get("TERM") != "dumb" and all(
        stream is not None and stream.isatty() for stream in streams
    )


def confirm(question: str) -> bool:
    """Ask a yes-or-no question in the terminal; only y and yes mean yes."""
    return input(f"{printable(question)} [y/N] ").strip().lower() in ("y", "yes")
