"""Whether somebody sits at a terminal."""

from __future__ import annotations

import os
import sys


def has_terminal() -> bool:
    """Whether the console can be shown: keys come from stdin, and Textual draws on stderr."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return os.environ.get("TERM") != "dumb" and all(
        stream is not None and stream.isatty() for stream in streams
    )
