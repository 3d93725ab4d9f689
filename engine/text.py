"""Small helpers for the texts that people read: messages, reports and log lines."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable

MAX_LISTED = 12
"""Number of names listed in a message if none of them is similar to the given one."""

SIMILARITY_CUTOFF = 0.7
"""difflib's ratio above which a name counts as a typing error: `age` and `target` have 0.67."""

_WRAPPED = re.compile(r"Caught \S+ in DataLoader worker process .*\n {2,}[^\n]*\n(\S.*)", re.DOTALL)
"""What a DataLoader makes of an error in a worker: a traceback, which ends with `Type: message`."""

_IN_WORKER = "in a data loader worker: "

_NOT_ASCII = re.compile(r"[^\x20-\x7e]+")


def printable(text: str) -> str:
    r"""Escape control and invisible characters for a terminal: an ANSI code becomes `\x1b[31m`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else escaped(char) for char in text)


def escaped(char: str) -> str:
    r"""Return a character in ASCII: `\x1b`, `\u202e`; for a byte of a file name that is no text, `\xff`."""
    if "\udc80" <= char <= "\udcff":  # see PEP 383
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def printable_lines(text: str) -> str:
    """Escape what `printable` escapes, except for line ends and tabs."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(char if char in "\n\t" or char.isprintable() else escaped(char) for char in text)


def ascii_json(text: str) -> str:
    r"""Return JSON with all other characters as `\uXXXX`: it means the same, and no terminal obeys it."""
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def printable_toml(text: str) -> str:
    r"""Return TOML with what `printable` escapes as `\uXXXX`, which means the same in its strings."""
    controls = [char for char in set(text) if char != "\n" and not char.isprintable()]
    return text.translate({ord(char): f"\\U{ord(char):08x}" for char in controls})


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if the message is empty."""
    lines = _message(error).splitlines()
    return lines[0] if lines else type(error).__name__


def error_summary(error: BaseException) -> str:
    """Return `Type: first line of the message`, the line that ends a traceback."""
    message = _message(error)
    if not message:
        return type(error).__name__
    is_named = message.startswith(_IN_WORKER)
    return f"{'' if is_named else f'{type(error).__name__}: '}{message.splitlines()[0]}"


def os_error_summary(error: OSError) -> str:
    """Return what the system says about an error, with the file if there is one."""
    text = error.strerror or str(error) or type(error).__name__
    return text if error.filename is None else f"{os.fsdecode(error.filename)}: {text}"


def mebibytes(size: int) -> str:
    """Format a number of bytes in MiB with one decimal."""
    return f"{size / 2**20:,.1f} MiB"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, whose plural takes an s: `1 step`, `2,000 steps`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def did_you_mean(name: str, known: Iterable[str], max_listed: int = MAX_LISTED) -> str:
    """Return the end of a message about an unknown name: the most similar known name, else all of them.

    Case is ignored. The text starts with its punctuation; it is empty if no name is known.
    """
    names = {known_name.lower(): known_name for known_name in known}
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=SIMILARITY_CUTOFF)
    if nearest:
        return f", did you mean {names[nearest[0]]!r}?"
    listed = list(names.values())
    more = f" and {len(listed) - max_listed} more" if len(listed) > max_listed else ""
    return f"; available: {', '.join(listed[:max_listed])}{more}" if listed else ""


def _message(error: BaseException) -> str:
    """Return the text of an error; an error from user code may raise another one here."""
    try:
        message = str(error).strip()
    except Exception:  # noqa: BLE001
        return "<exception str() failed>"
    if wrapped := _WRAPPED.fullmatch(message):
        return f"{_IN_WORKER}{wrapped[1]}"
    return message
