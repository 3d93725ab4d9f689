"""No command may print a traceback: what end-to-end tests do with the output of every program they run."""

from __future__ import annotations

import re

MARKS = ("Traceback (most recent call last)", "Exception ignored in")
"""Of Python's and Rich's tracebacks, and of what Python prints about destructors and threads."""

_CONTROL = re.compile(r"\x1b(?:\[[0-9;?<>=]*[a-zA-Z]|.)")


def assert_no_traceback(*outputs: str | bytes | None) -> None:
    """Fail if a program has printed a traceback, with colors or without."""
    for output in outputs:
        text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
        plain = _CONTROL.sub("", text)
        assert not any(mark in plain for mark in MARKS), f"the program printed a traceback:\n{plain[-4000:]}"
