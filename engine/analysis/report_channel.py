"""The stdout of a report's process, kept for the report: what user code prints goes to stderr."""

from __future__ import annotations

import os
import sys
from typing import TextIO

_channel: TextIO | None = None


def keep_stdout() -> None:
    """Keep stdout for `write_line` alone, whoever else prints: Python, native code or a child process."""
    global _channel
    _channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def write_line(line: str) -> None:
    """Write a line of the report."""
    print(line, file=_channel, flush=True)
